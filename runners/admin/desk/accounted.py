"""The list of all entries by where they are, which adds up to the starters."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeAlias

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from tablib import Dataset

from runners.admin.race_pages import permitted_race, race_page, race_table
from runners.models import Race
from runners.races.accounted import STARTERS, Account, Accounts, Group, accounts_of
from runners.rights.roles import Action

RaceAdmin: TypeAlias = "admin.ModelAdmin[Race]"

LABELS = {
    Group.OVERDUE: "Overdue",
    Group.OUT_THERE: "On the course",
    Group.DNF: "Did not finish",
    Group.DSQ: "Disqualified",
    Group.FINISHED: "Finished",
    Group.WAITING: "No start seen",
    Group.DNS: "Did not start",
}
# Listed without a choice; finishers need no attention.
SHOWN = tuple(group for group in Group if group != Group.FINISHED)
COLUMNS = (
    *("group", "bib", "name", "wave", "category", "seen_at", "seen_km", "after"),
    *("due_at", "due_by", "note"),
)


def accounted(race_admin: RaceAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """Show the counts, and the entries of the chosen group."""
    race = permitted_race(request, pk, Action.VIEW)
    accounts = accounts_of(race, timezone.now())
    chosen = request.GET.get("show", "")
    groups = {chosen} if chosen in LABELS else set(Group) if chosen == "all" else SHOWN
    clock = _clock(race)
    return race_page(
        race_admin,
        request,
        race,
        "accounted",
        "Accounted for",
        at=clock(accounts.at.timestamp()),
        chosen=chosen,
        starters=[_count(accounts, group) for group in STARTERS],
        others=[_count(accounts, group) for group in (Group.WAITING, Group.DNS)],
        accounts=accounts,
        rows=[
            _cells(account, clock)
            for account in accounts.accounts
            if account.group in groups
        ],
    )


def accounted_csv(race_admin: RaceAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """Return all entries as CSV."""
    race = permitted_race(request, pk, Action.VIEW)
    rows = accounts_of(race, timezone.now()).accounts
    clock = _clock(race)
    cells = (_cells(row, clock) for row in rows)
    table = Dataset(*([row[column] for column in COLUMNS] for row in cells))
    table.headers = COLUMNS
    return race_table(race, table, "accounted", "csv")


def _count(accounts: Accounts, group: Group) -> dict[str, Any]:
    return {
        "name": group.value,
        "label": LABELS[group],
        "count": accounts.counts[group],
    }


def _clock(race: Race) -> Callable[[float], str]:
    """Return a function that writes a time on the clock of the race."""
    zone = zoneinfo.ZoneInfo(race.timezone)
    day = timezone.now().astimezone(zone).date()

    def written(seconds: float) -> str:
        local = datetime.fromtimestamp(seconds, zone)
        return f"{local:%H:%M:%S}" if local.date() == day else f"{local:%d %b %H:%M}"

    return written


def _cells(account: Account, clock: Callable[[float], str]) -> dict[str, str]:
    row, seen, due = account.row, account.seen, account.due
    return {
        "group": LABELS[account.group],
        "bib": row.bib,
        "name": row.name,
        "wave": row.wave,
        "category": row.category,
        "seen_at": clock(seen.time) if seen else "",
        "seen_km": f"{seen.distance / 1000:.1f}" if seen else "",
        "after": seen.place if seen else "",
        "due_at": due.place if due else "",
        "due_by": clock(due.time) if due else "",
        "note": ", ".join(_notes(account)),
    }


def _notes(account: Account) -> Iterator[str]:
    if account.contradicts:
        yield "seen at a checkpoint since"
    if account.row.is_off_course:
        yield "off course"
    if account.group in (Group.OVERDUE, Group.OUT_THERE):
        yield "phone" if account.row.last_fix_at else "no phone"
