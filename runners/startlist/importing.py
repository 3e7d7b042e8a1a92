"""Imports a start list into a race, and issues tokens for its phones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Length
from import_export.results import Result
from tablib import Dataset

from runners.models import Entry, Race, RunnerToken
from runners.models.runner import RunnerQuerySet
from runners.startlist.resource import StartListResource
from runners.startlist.spreadsheet import COLUMNS, NUMBER

# Rows that a preview describes.
SHOWN = 200
# "missing": for runners without a usable token; "new": also instead of those that an
# earlier list has issued, whose response was lost.
Tokens = Literal["missing", "new"]
TOKEN_NAME = "Start list"


@dataclass(frozen=True, slots=True)
class Fault:
    """An error in one cell of the file."""

    row: int
    column: str
    value: str
    says: str


@dataclass(frozen=True, slots=True)
class Change:
    """The effect of a row: `values` are (column, before, after), before "" if new."""

    row: int
    is_new: bool
    values: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Preview:
    """The effect of importing a file."""

    new: int
    changed: int
    unchanged: int
    faults: Sequence[Fault]
    changes: Sequence[Change]

    @property
    def rows(self) -> int:
        """Return the number of rows to import."""
        return self.new + self.changed

    @property
    def faulty_rows(self) -> int:
        return len({fault.row for fault in self.faults})


def start_list_import(
    *, race: Race, table: Dataset, managed: RunnerQuerySet, dry_run: bool = False
) -> Preview:
    """Import a table, or preview it. Of stored runners, the `managed` are changed.

    Faulty rows are left out, all others are stored in one transaction. Raises
    IntegrityError if somebody else changes the start list at the same time.
    """
    result = StartListResource(race, managed).import_data(
        table, dry_run=dry_run, use_transactions=True, raise_errors=False
    )
    for error in [*result.base_errors, *(e for r in result.rows for e in r.errors)]:
        raise error.error
    numbered = zip(table[NUMBER], result.rows, strict=True)
    changed = ((n, row) for n, row in numbered if row.is_new() or row.is_update())
    return Preview(
        new=result.totals["new"],
        changed=result.totals["update"],
        unchanged=result.totals["skip"],
        faults=list(_faults(result, table.dict)),
        changes=[_change(number, row) for number, row in islice(changed, SHOWN)],
    )


@transaction.atomic
def tokens_issue(
    *,
    race: Race,
    bibs: Iterable[str],
    managed: RunnerQuerySet,
    tokens: Tokens = "missing",
) -> list[tuple[Entry, str]]:
    """Issue tokens for the phones of some bibs; return each with its plain text.

    Only runners who are `managed` by whoever asks, and have no account, get some.
    Tokens end with the race, because lists are copied.
    """
    theirs = managed.filter(account=None)
    chosen = Entry.objects.filter(race=race, bib__in=list(bibs), runner__in=theirs)
    name = f"{TOKEN_NAME}, race {race.pk}"
    if tokens == "new":
        issued = RunnerToken.objects.usable().filter(name=name)
        for token in issued.filter(runner__in=chosen.values("runner")):
            token.revoke()
    found = list(
        without_phone(chosen).select_related("runner").order_by(Length("bib"), "bib")
    )
    plains = RunnerToken.objects.issue_many(
        [entry.runner for entry in found], name=name, expires_at=race.ends
    )
    return list(zip(found, plains, strict=True))


def without_phone(entries: QuerySet[Entry]) -> QuerySet[Entry]:
    """Return the entries whose runners have no usable token."""
    usable = RunnerToken.objects.usable().filter(runner=OuterRef("runner"))
    return entries.filter(~Exists(usable))


def _faults(result: Result, rows: Sequence[dict[str, Any]]) -> Iterator[Fault]:
    for invalid in result.invalid_rows:
        cells = rows[invalid.number - 1]
        for column, says in invalid.error_dict.items():
            value = str(cells.get(column, ""))
            yield Fault(cells[NUMBER], column, value[:60], " ".join(says))


def _change(number: int, row: Any) -> Change:
    values = []
    for column, field in StartListResource.fields.items():
        if column not in COLUMNS:
            continue
        before = field.export(row.original) if row.original is not None else ""
        values.append((column, before, field.export(row.instance)))
    return Change(number, row.is_new(), values)
