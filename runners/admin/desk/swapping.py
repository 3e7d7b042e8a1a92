"""Phones that went to the wrong runner: whose tokens they carry is exchanged."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction

from runners.models import Race, Runner, RunnerToken


def runner_meant(race: Race, text: str) -> Runner:
    """Return whom a bib, or the code of somebody not entered, means.

    Raises ValidationError.
    """
    text = text.strip()
    entry = race.entries.filter(bib=text).select_related("runner").first()
    if entry is not None:
        return entry.runner
    runner = Runner.objects.filter(code=text).first()
    if runner is None:
        raise ValidationError(f"{text!r} is no bib of this race and no runner's code.")
    return runner


def phones_swap(*, first: Runner, second: Runner) -> tuple[int, int]:
    """Give each the phones of the other from now on; return how many each gets.

    What was sent before stays where it is. An open socket is told to come back, and
    sends for the other then.
    """
    usable = RunnerToken.objects.usable()
    with transaction.atomic():
        of_first = list(usable.filter(runner=first).values_list("pk", flat=True))
        of_second = list(usable.filter(runner=second).values_list("pk", flat=True))
        RunnerToken.objects.filter(pk__in=of_first).update(runner=second)
        RunnerToken.objects.filter(pk__in=of_second).update(runner=first)
    return len(of_second), len(of_first)
