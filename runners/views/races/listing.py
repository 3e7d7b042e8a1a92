"""The standings that a viewer may see: read, cached for seconds, and filtered."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

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

# How long standings are cached for all requests in this process.
AGE_S = 2.0
# Rows of a response: the default and the limit.
DEFAULT_ROWS = 100
MAX_ROWS = 2_000
# Runners that one request may name, as for arrivals (arrival_reads.py).
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


def requested_listing(
    request: HttpRequest,
    slug: str,
    user: int | None,
    *,
    topic_name: bool = False,
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
    moment = int(time.monotonic() / AGE_S)
    ground, rows = _kept_rows(race.pk, moment)
    cut = frozenset(
        since
        for row in rows
        if row.runner in begins
        and row.runner in shown
        and (since := row.since(begins[row.runner])) is not row
    )
    # Ranks and gaps by a hidden runner would reveal where they are.
    kept = _kept(race.pk, query.clock, shown, cut, moment)
    group = _kept_group(race.pk, shown, cut, moment, query.clock, query.group)
    ranked_rows = group.ranked_rows
    if query.text:
        ranked_rows = matching(ranked_rows, query.text)
    page: Sequence[RankedRow]
    if bib is not None:
        page = [ranked for ranked in ranked_rows if ranked.row.bib == bib]
    elif query.runners:
        page = [ranked for ranked in ranked_rows if ranked.row.code in query.runners]
    elif topic_name:
        page = ranked_rows
    else:
        page = ranked_rows[query.first - 1 :][: query.rows]
    return Listing(
        race=race,
        ground=ground,
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


@lru_cache(maxsize=16)
def _kept_rows(pk: int, moment: int) -> tuple[Ground, Sequence[Row]]:
    race = Race.objects.defer("line").get(pk=pk)
    ground = ground_of(race)
    return ground, rows_of(race, ground)


@lru_cache(maxsize=16)
def _kept(
    pk: int,
    clock: Clock,
    shown: frozenset[int],
    cut: frozenset[Row],
    moment: int,
) -> Kept:
    instead = {row.entry: row for row in cut}
    rows = [
        instead.get(row.entry, row)
        for row in _kept_rows(pk, moment)[1]
        if row.runner in shown
    ]
    waves = {row.wave: row.gun for row in rows if row.wave}
    return Kept(
        standings(rows, clock),
        sorted({row.category for row in rows if row.category}),
        sorted(waves, key=lambda wave: (waves[wave], wave)),
        sorted({row.club for row in rows if row.club}),
        Counter(row.status for row in rows),
    )


@lru_cache(maxsize=64)
def _kept_group(
    pk: int,
    shown: frozenset[int],
    cut: frozenset[Row],
    moment: int,
    clock: Clock,
    group: tuple[str, str, str],
) -> Group:
    rows = in_group(_kept(pk, clock, shown, cut, moment).ranked_rows, *group)
    again = standings([ranked.row for ranked in rows], clock) if any(group) else rows
    gaps = gaps_of(again, clock)
    return Group(
        rows,
        {ranked.row.entry: ranked.rank for ranked in again},
        {ranked.row.entry: gap for ranked, gap in zip(again, gaps, strict=True)},
    )


def forget_kept() -> None:
    """Discard the caches (for tests)."""
    _kept_group.cache_clear()
    _kept_rows.cache_clear()
    _kept.cache_clear()


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
