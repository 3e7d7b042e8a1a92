"""The standings that a viewer may see: read, cached for a moment, filtered."""

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
    Place,
    Row,
    gap_of,
    in_group,
    matching,
    standings,
)
from runners.sharing.results import shown_in_standings
from runners.views.numbers import whole_number
from runners.views.races.requests import invalid, race_asked

# How long standings are reused for all requests in this process.
AGE_S = 2.0
# Rows of a response by default, and at most.
ROWS, MOST_ROWS = 100, 2_000


@dataclass(frozen=True)
class Asked:
    """The parameters of a request for standings."""

    clock: Clock
    category: str
    wave: str
    text: str
    first: int
    rows: int


@dataclass(frozen=True)
class Listing:
    """The standings of the runners who may be shown, as if there were no others.

    `places` are all rows of the group that match, of which `page` was requested;
    `ranks` in the group and `gaps` to its first belong to the page. `hidden` counts the
    entries that may not be shown, `states` those that may.
    """

    race: Race
    ground: Ground
    asked: Asked
    places: Sequence[Place]
    page: Sequence[Place]
    ranks: Sequence[int | None]
    gaps: Sequence[Gap]
    categories: Sequence[str]
    waves: Sequence[str]
    entries: int
    hidden: int
    states: Counter[str]

    @cached_property
    def names(self) -> dict[int, str]:
        """Map primary keys of checkpoints to their names."""
        return {stop.pk: stop.name for stop in self.ground.stops}


@dataclass(frozen=True)
class Kept:
    """The standings of some runners at one moment."""

    places: Sequence[Place]
    categories: Sequence[str]
    waves: Sequence[str]
    states: Counter[str]


def listing_asked(
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
    asked = _asked(request)
    race, links = race_asked(request, slug, link)
    shown = shown_in_standings(race, user, links)
    moment = int(time.monotonic() / AGE_S)
    ground, rows = _kept_rows(race.pk, moment)
    # Ranks and gaps by a hidden runner would show where that runner is.
    kept = _kept(race.pk, asked.clock, shown, moment)
    group = in_group(kept.places, asked.category, asked.wave)
    places = matching(group, asked.text) if asked.text else group
    if bib is not None:
        page = [place for place in places if place.row.bib == bib]
    elif topic_name:
        page = places
    else:
        page = places[asked.first - 1 :][: asked.rows]
    return Listing(
        race=race,
        ground=ground,
        asked=asked,
        places=places,
        page=page,
        ranks=_ranks(asked, group, page),
        gaps=[gap_of(place, group[0], asked.clock) for place in page],
        categories=kept.categories,
        waves=kept.waves,
        entries=len(rows),
        hidden=len(rows) - len(kept.places),
        states=kept.states,
    )


def _ranks(
    asked: Asked, group: Sequence[Place], page: Sequence[Place]
) -> list[int | None]:
    if asked.category or asked.wave:
        again = standings([place.row for place in group], asked.clock)
        rank = {place.row.entry: place.rank for place in again}
        return [rank[place.row.entry] for place in page]
    return [place.rank for place in page]


@lru_cache(maxsize=16)
def _kept_rows(pk: int, moment: int) -> tuple[Ground, Sequence[Row]]:
    race = Race.objects.defer("line").get(pk=pk)
    ground = ground_of(race)
    return ground, rows_of(race, ground)


@lru_cache(maxsize=16)
def _kept(pk: int, clock: Clock, shown: frozenset[int], moment: int) -> Kept:
    rows = [row for row in _kept_rows(pk, moment)[1] if row.runner in shown]
    waves = {row.wave: row.gun for row in rows if row.wave}
    return Kept(
        standings(rows, clock),
        sorted({row.category for row in rows if row.category}),
        sorted(waves, key=lambda wave: (waves[wave], wave)),
        Counter(row.status for row in rows),
    )


def forget_kept() -> None:
    """Discard the caches (for tests)."""
    _kept_rows.cache_clear()
    _kept.cache_clear()


def _asked(request: HttpRequest) -> Asked:
    clock = request.GET.get("by") or "gun"
    if clock not in ("gun", "chip"):
        raise invalid("`by` must be gun or chip.")
    return Asked(
        clock="gun" if clock == "gun" else "chip",
        category=request.GET.get("category", ""),
        wave=request.GET.get("wave", ""),
        text=request.GET.get("q", "").strip()[:80],
        first=_whole(request, "from", 1, 1_000_000, 1),
        rows=_whole(request, "rows", 1, MOST_ROWS, ROWS),
    )


def _whole(request: HttpRequest, name: str, least: int, most: int, usual: int) -> int:
    number = whole_number(request.GET.get(name) or str(usual))
    if number is None:
        raise invalid(f"`{name}` is a whole number.")
    if not least <= number <= most:
        raise invalid(f"`{name}` is from {least} to {most}.")
    return number
