"""Follows of accounts: requests, answers and removal."""

from __future__ import annotations

from enum import StrEnum

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from runners.models import Follow, Runner
from runners.rights.access import visible_runners


def followable_runners(*, user: User) -> QuerySet[Runner]:
    """Return the runners that a user may follow or ask to follow.

    These are the visible runners, and those who are visible to accepted followers:
    everybody who knows their code may ask, unless blocked.
    """
    blocked = Follow.objects.filter(user=user, status=Follow.Status.BLOCKED)
    requestable = Runner.objects.filter(visibility=Runner.Visibility.FOLLOWERS).exclude(
        pk__in=blocked.values("runner")
    )
    seen = visible_runners(user.pk)
    return Runner.objects.filter(Q(pk__in=seen.values("pk")) | Q(pk__in=requestable))


def follow_runner(*, user: User, runner: Runner) -> str:
    """Follow a runner, or ask to; return the status as the user sees it.

    A follow that the runner has answered keeps its status.
    """
    follow, _ = Follow.objects.get_or_create(user=user, runner=runner)
    return _status_seen(follow.status, runner.visibility)


def unfollow_runner(*, user: User, code: str) -> None:
    """Remove a follow or a request.

    A refusal is kept, so that a new request needs the runner's consent.
    """
    Follow.objects.filter(
        user=user,
        runner__code=code,
        status__in=[Follow.Status.ACCEPTED, Follow.Status.PENDING],
    ).delete()


def follow_statuses(*, user: User) -> dict[str, str]:
    """Map codes of runners to the status of a user's follow or request."""
    follows = Follow.objects.filter(
        user=user, status__in=[Follow.Status.ACCEPTED, Follow.Status.PENDING]
    )
    rows = follows.values_list("runner__code", "status", "runner__visibility")
    return {code: _status_seen(status, visible) for code, status, visible in rows}


def _status_seen(status: str, visibility: str) -> str:
    """Return a status as the user sees it: a public runner is followed without asking.

    It stays a request in the database. The runner has to answer it before the user may
    see them as one of their followers only.
    """
    if visibility == Runner.Visibility.PUBLIC and status == Follow.Status.PENDING:
        return Follow.Status.ACCEPTED
    return status


class FollowAnswer(StrEnum):
    """A runner's answer to a request or to a follower."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    BLOCK = "block"
    # Removes the request, so that the user may send a new one.
    REMOVE = "remove"


_STATUS_OF = {
    FollowAnswer.ACCEPT: Follow.Status.ACCEPTED,
    FollowAnswer.REFUSE: Follow.Status.REFUSED,
    FollowAnswer.BLOCK: Follow.Status.BLOCKED,
}


def follow_answer(*, follow: Follow, answer: FollowAnswer) -> None:
    """Apply a runner's answer; open sockets follow within a second."""
    if answer is FollowAnswer.REMOVE:
        follow.delete()
    else:
        follow.status = _STATUS_OF[answer]
        follow.save(update_fields=["status"])
