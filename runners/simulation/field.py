"""The field of a simulation in the database: runners, entries, tokens."""

from __future__ import annotations

from itertools import count

from django.db import transaction

from runners.models import Entry, Race, Runner, RunnerToken

TOKEN_NAME = "simulator"


def field_create(*, race: Race, size: int) -> list[tuple[RunnerToken, str]]:
    """Make sure of the runners sim-1 to sim-N and their entries; issue a token each.

    Returns the tokens' rows and plain texts, in the order of the runners. What is
    there already stays as it is.
    """
    codes = [f"sim-{number}" for number in range(1, size + 1)]
    with transaction.atomic():
        there = set(
            Runner.objects.filter(code__in=codes).values_list("code", flat=True)
        )
        for number, code in enumerate(codes, start=1):
            if code not in there:
                Runner.objects.create(code=code, name=f"Runner {number}")
        by_code = {r.code: r for r in Runner.objects.filter(code__in=codes)}
        runners = [by_code[code] for code in codes]
        entries = race.entries.values_list("runner_id", "bib")
        entered = {runner for runner, _ in entries}
        bibs = {bib for _, bib in entries}
        free = (str(bib) for bib in count(1) if str(bib) not in bibs)
        Entry.objects.bulk_create(
            Entry(race=race, runner=runner, bib=next(free))
            for runner in runners
            if runner.pk not in entered
        )
        return [
            RunnerToken.objects.issue(runner, name=TOKEN_NAME) for runner in runners
        ]


def field_dismiss(tokens: list[RunnerToken]) -> None:
    """Revoke a simulation's tokens."""
    with transaction.atomic():
        for token in tokens:
            token.revoke()
