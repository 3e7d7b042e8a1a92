"""Changes of a runner's own data: pause, end of sharing, zones, export, erasure."""

from __future__ import annotations

import logging
import secrets
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from runners.models import (
    Entry,
    LatestPosition,
    Pause,
    Position,
    RightsChange,
    Runner,
    RunnerToken,
    Zone,
)
from runners.models.runner import TOKEN_BYTES, token_digest
from runners.positions.privacy_rules import forget_hidden
from runners.quotas import over_quota

logger = logging.getLogger(__name__)

# Usable tokens of a runner, and how many can be created per hour.
MAX_TOKENS = 20
MAX_TOKENS_PER_HOUR = 10
HOUR_S = 3_600


def visibility_set(*, runner: Runner, visibility: str) -> None:
    """Set who may see a runner. Others lose the runner at once."""
    runner.visibility = visibility
    runner.save(update_fields=["visibility", "changed_at"])


@transaction.atomic
def sharing_pause(*, runner: Runner) -> None:
    """Pause sharing from now on; a second call changes nothing."""
    Pause.objects.get_or_create(
        runner=runner, ended_at=None, defaults={"started_at": timezone.now()}
    )
    runner.entries.forget_estimates()


@transaction.atomic
def pause_save(*, pause: Pause) -> None:
    """Save a new or changed pause, during which no estimate is shown."""
    pause.save()
    pause.runner.entries.forget_estimates()


def sharing_resume(*, runner: Runner) -> None:
    """Resume sharing; positions recorded during the pause are never accepted."""
    for pause in runner.pauses.filter(ended_at=None):
        pause.ended_at = timezone.now()
        pause.save(update_fields=["ended_at"])


class TooManyTokens(Exception):
    """A token that is not created; its text is for the runner."""


def token_issue(*, runner: Runner, name: str) -> tuple[RunnerToken, str]:
    """Create a token for a runner's phone; return its row and the plain text.

    Raises `TooManyTokens`.
    """
    if runner.tokens.usable().count() >= MAX_TOKENS:
        detail = _("You can have at most {count} phones. Revoke one first.")
        raise TooManyTokens(detail.format(count=MAX_TOKENS))
    if over_quota(f"token of {runner.pk}", MAX_TOKENS_PER_HOUR, HOUR_S):
        raise TooManyTokens(_("Too many new phones. Try again in an hour."))
    return RunnerToken.objects.issue(runner, name=name)


def stop_link_issue(*, runner: Runner) -> str:
    """Replace the secret of the link that pauses sharing; return it, only now."""
    plain = secrets.token_urlsafe(TOKEN_BYTES)
    _stop_digest_set(runner, token_digest(plain))
    logger.info("A stop link of runner %s was issued", runner.pk)
    return plain


def stop_link_revoke(*, runner: Runner) -> None:
    """Revoke the link that pauses sharing. A second call changes nothing."""
    _stop_digest_set(runner, None)
    logger.info("The stop link of runner %s was revoked", runner.pk)


def stop_link_runner(plain: str) -> Runner | None:
    """Return the runner whose sharing a secret pauses."""
    return Runner.objects.filter(stop_digest=token_digest(plain)).first()


def _stop_digest_set(runner: Runner, digest: str | None) -> None:
    runner.stop_digest = digest
    runner.save(update_fields=["stop_digest", "changed_at"])


@transaction.atomic
def sharing_until(*, runner: Runner, ends: datetime | None) -> None:
    """Set the time at which sharing ends automatically; None: never."""
    before, now = runner.sharing_ends_at, timezone.now()
    if before is not None and before < now:
        # Positions recorded after the end stay unshared.
        Pause.objects.create(runner=runner, started_at=before, ended_at=now)
    runner.sharing_ends_at = ends
    runner.save(update_fields=["sharing_ends_at", "changed_at"])


def cheers_set(*, runner: Runner, wanted: bool) -> None:
    """Allow or refuse cheers. In force at once."""
    runner.cheers = wanted
    runner.save(update_fields=["cheers", "changed_at"])


def zone_add(
    *, runner: Runner, name: str, lat: float, lng: float, radius: float
) -> Zone:
    """Hide a place and delete its stored positions."""
    zone = Zone(runner=runner, name=name, lat=lat, lng=lng, radius=radius)
    zone.full_clean(exclude=["shift", "bearing"])
    zone_save(zone=zone)
    return zone


@transaction.atomic
def zone_save(*, zone: Zone) -> None:
    """Save a new or changed zone and delete the positions stored inside."""
    _entries_lock(zone.runner)
    zone.save()
    forget_hidden(zone.runner_id)
    zone.runner.entries.forget_estimates()
    RightsChange.objects.note(RightsChange.Kind.RUNNER, [zone.runner_id], erased=True)


@transaction.atomic
def positions_erase(*, runner: Runner) -> int:
    """Delete all positions of a runner, also from open views; return how many.

    Positions from before that phones still hold are refused later.
    """
    _entries_lock(runner)
    runner.erased_at = timezone.now()
    runner.save(update_fields=["erased_at", "changed_at"])
    LatestPosition.objects.filter(runner=runner).delete()
    runner.entries.forget_estimates()
    rows, _by_model = Position.objects.filter(runner=runner).delete()
    # Open calls for help are kept, because the runner must be found.
    runner.sos.exclude(fine_at=None, closed_at=None).delete()
    RightsChange.objects.note(RightsChange.Kind.RUNNER, [runner.pk], erased=True)
    return rows


def _entries_lock(runner: Runner) -> None:
    """Lock entries before a position, as the recorder does, to avoid deadlocks."""
    Entry.objects.lock(runner.entries.values_list("pk", flat=True))


@transaction.atomic
def runner_delete(*, runner: Runner) -> None:
    """Delete a runner with all their data, and links to them alone."""
    for link in runner.links.exclude(race__isnull=False):
        if not link.runners.exclude(pk=runner.pk).exists():
            link.delete()
    runner.delete()


@transaction.atomic
def account_delete(*, user: User) -> None:
    """Delete an account and its runner."""
    for runner in Runner.objects.filter(account=user):
        runner_delete(runner=runner)
    user.delete()
