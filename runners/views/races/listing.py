"""The standings that a viewer may see: read, cached for seconds, and filtered."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from django.http import HttpRequest

from runners.models import Race, ShareLink
from runners.races.race_data import Ground, ground_of, rows_of
from runners.races.standings import (
    Clock,
    Gap,
    RankedRow,
    Row,
    gaps_of,
    in_group,
    matching,
    standings,
)
from runners.rights.results import seen_in_race_from, shown_in_standings
from runners.views.numbers import whole_number
from runners.views.races.requests import invalid, requested_race

# How long the rows of a race are cached for all requests in this process, or as long as
# it took to read them, if that is longer.
AGE_S = 2.0
# Races whose rows are cached.
FIELDS_KEPT = 16
# Rows of a response: the default and the limit.
DEFAULT_ROWS = 100
MAX_ROWS = 2_000
# Runners that one request may name, as for arrivals (arrival_answers.py).
MAX_NAMED = 100


@dataclass(frozen=True)
class ListingQuery:
    """The parameters of a request for standings."""

    clock: Clock
    category: str
    wave: str
    club: str
    text: str
    first: int
    rows: int
    runners: frozenset[str]

    @property
    def group(self) -> tuple[str, str, str]:
        """Return the requested category, wave and club."""
        return self.category, self.wave, self.club


@dataclass(frozen=True)
class Listing:
    """The standings of visible runners, computed as if there were no others.

    `ranked_rows` are all rows of the group that match, of which `page` was requested;
    `ranks` in the group and `gaps` to its first belong to the page. `hidden` counts the
    entries that may not be shown, `states` those that may.
    """

    race: Race
    ground: Ground
    query: ListingQuery
    ranked_rows: Sequence[RankedRow]
    page: Sequence[RankedRow]
    ranks: Sequence[int | None]
    gaps: Sequence[Gap]
    categories: Sequence[str]
    waves: Sequence[str]
    clubs: Sequence[str]
    entries: int
    hidden: int
    states: Counter[str]

    @cached_property
    def names(self) -> dict[int, str]:
        """Map primary keys of checkpoints to their names."""
        return {stop.pk: stop.name for stop in self.ground.stops}


@dataclass(frozen=True)
class Group:
    """The rows of a category, a wave and a club, with ranks and gaps by entry."""

    ranked_rows: Sequence[RankedRow]
    ranks: dict[int, int | None]
    gaps: dict[int, Gap]


@dataclass(frozen=True)
class Kept:
    """The standings of some runners at one moment."""

    ranked_rows: Sequence[RankedRow]
    categories: Sequence[str]
    waves: Sequence[str]
    clubs: Sequence[str]
    states: Counter[str]


@dataclass(frozen=True)
class Viewed:
    """The runners whom a viewer may see, and the rows that they see less of."""

    clock: Clock
    shown: frozenset[int]
    cut: frozenset[Row]


@dataclass(frozen=True)
class Field:
    """All rows of a race, and what was computed from them, until they are read again.

    `until` is a time of the monotonic clock.
    """

    ground: Ground
    rows: Sequence[Row]
    until: float
    standings: dict[Viewed, Kept] = field(default_factory=dict)
    groups: dict[tuple[Viewed, tuple[str, str, str]], Group] = field(
        default_factory=dict
    )


# By the primary key of the race.
_fields: dict[int, Field] = {}


def requested_listing(
    request: HttpRequest,
    slug: str,
    user: int | None,
    *,
    whole: bool = False,
    bib: str | None = None,
    link: ShareLink | None = None,
) -> Listing:
    """Return the requested standings; raises `Refused`.

    `whole`: all rows, regardless of the request; `bib`: only that row. Rights are
    checked before, and for each request.
    """
    query = _listing_query(request)
    race, links = requested_race(request, slug, link)
    shown = shown_in_standings(race, user, links)
    begins = seen_in_race_from(race, user, links)
    of_race = _field(race.pk)
    rows = of_race.rows
    cut = frozenset(
        since
        for row in rows
        if row.runner in begins
        and row.runner in shown
        and (since := row.since(begins[row.runner])) is not row
    )
    # Ranks and gaps by a hidden runner would reveal where they are.
    viewed = Viewed(query.clock, shown, cut)
    kept = _kept(of_race, viewed)
    group = _kept_group(of_race, viewed, query.group)
    ranked_rows = group.ranked_rows
    if query.text:
        ranked_rows = matching(ranked_rows, query.text)
    page: Sequence[RankedRow]
    if bib is not None:
        page = [ranked for ranked in ranked_rows if ranked.row.bib == bib]
    elif query.runners:
        page = [ranked for ranked in ranked_rows if ranked.row.code in query.runners]
    elif whole:
        page = ranked_rows
    else:
        page = ranked_rows[query.first - 1 :][: query.rows]
    return Listing(
        race=race,
        ground=of_race.ground,
        query=query,
        ranked_rows=ranked_rows,
        page=page,
        ranks=[group.ranks[ranked.row.entry] for ranked in page],
        gaps=[group.gaps[ranked.row.entry] for ranked in page],
        categories=kept.categories,
        waves=kept.waves,
        clubs=kept.clubs,
        entries=len(rows),
        hidden=len(rows) - len(kept.ranked_rows),
        states=kept.states,
    )


def _field(pk: int) -> Field:
    """Return the rows of a race, read again if they are old."""
    began = time.monotonic()
    kept = _fields.get(pk)
    if kept is not None and began < kept.until:
        return kept
    race = Race.objects.defer("line").get(pk=pk)
    ground = ground_of(race)
    rows = rows_of(race, ground)
    now = time.monotonic()
    if len(_fields) >= FIELDS_KEPT:
        _fields.clear()
    _fields[pk] = read = Field(ground, rows, now + max(AGE_S, now - began))
    return read


def _kept(of_race: Field, viewed: Viewed) -> Kept:
    if viewed not in of_race.standings:
        of_race.standings[viewed] = _standings(of_race.rows, viewed)
    return of_race.standings[viewed]


def _standings(rows: Sequence[Row], viewed: Viewed) -> Kept:
    instead = {row.entry: row for row in viewed.cut}
    seen = [instead.get(row.entry, row) for row in rows if row.runner in viewed.shown]
    waves = {row.wave: row.gun for row in seen if row.wave}
    return Kept(
        standings(seen, viewed.clock),
        sorted({row.category for row in seen if row.category}),
        sorted(waves, key=lambda wave: (waves[wave], wave)),
        sorted({row.club for row in seen if row.club}),
        Counter(row.status for row in seen),
    )


def _kept_group(of_race: Field, viewed: Viewed, group: tuple[str, str, str]) -> Group:
    if (viewed, group) not in of_race.groups:
        ranked_rows = _kept(of_race, viewed).ranked_rows
        of_race.groups[viewed, group] = _group(ranked_rows, viewed.clock, group)
    return of_race.groups[viewed, group]


def _group(
    ranked_rows: Sequence[RankedRow], clock: Clock, group: tuple[str, str, str]
) -> Group:
    rows = in_group(ranked_rows, *group)
    again = standings([ranked.row for ranked in rows], clock) if any(group) else rows
    gaps = gaps_of(again, clock)
    return Group(
        rows,
        {ranked.row.entry: ranked.rank for ranked in again},
        {ranked.row.entry: gap for ranked, gap in zip(again, gaps, strict=True)},
    )


def forget_kept() -> None:
    """Discard the caches (for tests)."""
    _fields.clear()


def _listing_query(request: HttpRequest) -> ListingQuery:
    clock = request.GET.get("by") or "gun"
    if clock not in ("gun", "chip"):
        raise invalid("`by` must be gun or chip.")
    return ListingQuery(
        clock="gun" if clock == "gun" else "chip",
        category=request.GET.get("category", ""),
        wave=request.GET.get("wave", ""),
        club=request.GET.get("club", ""),
        text=request.GET.get("q", "").strip()[:80],
        first=_integer(request, "from", 1, 1_000_000, 1),
        rows=_integer(request, "rows", 1, MAX_ROWS, DEFAULT_ROWS),
        runners=_named(request),
    )


def _named(request: HttpRequest) -> frozenset[str]:
    named = frozenset(filter(None, request.GET.get("runners", "").split(",")))
    if len(named) > MAX_NAMED:
        raise invalid(f"`runners` has at most {MAX_NAMED} codes.")
    return named


def _integer(request: HttpRequest, name: str, least: int, most: int, usual: int) -> int:
    number = whole_number(request.GET.get(name) or str(usual))
    if number is None:
        raise invalid(f"`{name}` is a whole number.")
    if not least <= number <= most:
        raise invalid(f"`{name}` is from {least} to {most}.")
    return number
