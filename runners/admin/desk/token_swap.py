"""Swaps the tokens of two runners who got each other's phones."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction

from runners.models import Race, Runner, RunnerToken
from runners.rights.roles import Action, AnyUser, may_everywhere


def runner_meant(race: Race, text: str, user: AnyUser) -> Runner:
    """Return the runner with a bib, or with a code if they have no entry.

    Organisers of single races need an entry of the race. Raises ValidationError if
    there is none, or if the runner has an account and has not accepted the entry: the
    race office must not publish that phone's positions.
    """
    text = text.strip()
    entry = race.entries.filter(bib=text).select_related("runner").first()
    known = Runner.objects.filter(code=text)
    if not may_everywhere(user, Action.SWAP):
        known = known.filter(entries__race=race)
    runner = entry.runner if entry else known.first()
    if runner is None:
        raise ValidationError(
            f"{text!r} is neither a bib of this race nor a runner's code."
        )
    entries = race.entries.filter(runner=runner, accepted=True)
    if runner.account_id is not None and not entries.exists():
        raise ValidationError(
            f"{runner} has an account and has not accepted an entry of this race: "
            "their phone stays theirs."
        )
    return runner


def phones_swap(*, first: Runner, second: Runner) -> tuple[int, int]:
    """Give each runner the other's phones; return how many each gets.

    Stored positions stay with their runner. Open sockets are closed, and after
    reconnecting they publish for the other runner.
    """
    usable = RunnerToken.objects.usable()
    with transaction.atomic():
        of_first = list(usable.filter(runner=first).values_list("pk", flat=True))
        of_second = list(usable.filter(runner=second).values_list("pk", flat=True))
        RunnerToken.objects.filter(pk__in=of_first).update(runner=second)
        RunnerToken.objects.filter(pk__in=of_second).update(runner=first)
    return len(of_second), len(of_first)
