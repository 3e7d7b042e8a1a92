"""The official results of a race."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from django.http import HttpRequest
from ninja import Query, Router, Schema

from runners.api.access import race_of
from runners.api.entries import StatusName
from runners.api.fields import Moment, Slug
from runners.api.paging import Cursor, Limit
from runners.races.race_data import ground_of, rows_of
from runners.races.standings import Clock, RankedRow, standings
from runners.rights.roles import Action

router = Router(tags=["results"])


class SplitOut(Schema):
    """A time at a checkpoint; `distance` in metres, `uncertainty` in seconds.

    `from_file`: the time comes from the file of a watch.
    """

    checkpoint: str
    pass_number: int
    distance: float
    time: Moment
    uncertainty: float
    by_hand: bool
    from_file: bool


class ResultOut(Schema):
    """A row; `time` in seconds for finishers, since the gun or the runner's start."""

    rank: int | None
    category_rank: int | None
    wave_rank: int | None
    bib: str
    code: str
    name: str
    category: str
    club: str
    wave: str
    status: StatusName
    time: float | None
    splits: list[SplitOut]


class ResultPage(Schema):
    items: list[ResultOut]
    next: int | None


@router.get("/races/{slug}/results", response=ResultPage)
def read_results(
    request: HttpRequest,
    slug: Slug,
    by: Annotated[Literal["gun", "chip"], Query()] = "gun",
    cursor: Cursor = 0,
    limit: Limit = 100,
) -> ResultPage:
    """Read the results of all entries with the official ranks, in their order.

    During a race, a row that overtakes another between two pages can be on both or on
    neither.
    """
    race = race_of(request, slug, Action.VIEW)
    ground = ground_of(race)
    ranked = standings(rows_of(race, ground), by)
    names = {stop.pk: stop.name for stop in ground.stops}
    end = cursor + limit
    return ResultPage(
        items=[_result(row, by, names) for row in ranked[cursor:end]],
        next=end if len(ranked) > end else None,
    )


def _result(ranked: RankedRow, by: Clock, names: dict[int, str]) -> ResultOut:
    row = ranked.row
    time = row.time(by)
    return ResultOut(
        rank=ranked.rank,
        category_rank=ranked.category_rank,
        wave_rank=ranked.wave_rank,
        bib=row.bib,
        code=row.code,
        name=row.name,
        category=row.category,
        club=row.club,
        wave=row.wave,
        status=row.status,  # type: ignore[arg-type]
        time=None if time is None else round(time, 3),
        splits=[
            SplitOut(
                checkpoint=names[split.checkpoint],
                pass_number=split.pass_number,
                distance=round(split.distance, 1),
                time=datetime.fromtimestamp(split.time, UTC),
                uncertainty=split.uncertainty,
                by_hand=split.by_hand,
                from_file=split.from_file,
            )
            for split in row.splits
        ],
    )
