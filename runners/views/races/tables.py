"""Standings as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson

from runners.races.standings import legs
from runners.startlist.spreadsheet import shielded
from runners.units.clock import milliseconds, now_ms
from runners.views.races.listing import Listing
from runners.views.races.texts import hms, ms


def as_json(listing: Listing, *, splits: bool, brief: bool) -> bytes:
    """Encode the requested rows (docs/protocol.md), with splits or only with ranks."""
    race = listing.race
    rows = _brief_rows(listing) if brief else _rows(listing, splits=splits)
    return orjson.dumps(
        {
            "race": {
                "slug": race.slug,
                "name": race.name,
                "start": milliseconds(race.start),
                "ends": milliseconds(race.ends),
                "timezone": race.timezone,
                "length": round(race.length, 1),
            },
            "time": now_ms(),
            "by": listing.query.clock,
            "categories": listing.categories,
            "waves": listing.waves,
            "clubs": listing.clubs,
            "entries": listing.entries,
            "hidden": listing.hidden,
            "states": listing.states,
            "matching": len(listing.ranked_rows),
            "from": listing.query.first,
            "standings": rows,
        }
    )


def _brief_rows(listing: Listing) -> list[dict[str, Any]]:
    """Return the ranks and times of a whole field, in the requested group."""
    return [
        {
            "runner": ranked.row.code,
            "rank": rank,
            "category": ranked.row.category,
            "category_rank": ranked.category_rank,
            "status": ranked.row.status,
            "gun_time": ms(ranked.row.time("gun")),
        }
        for ranked, rank in zip(listing.page, listing.ranks, strict=True)
    ]


def _rows(listing: Listing, *, splits: bool) -> list[dict[str, Any]]:
    names = listing.names
    rows = []
    for ranked, gap in zip(listing.page, listing.gaps, strict=True):
        row = ranked.row
        split_rows = [
            {
                "checkpoint": names[leg.split.checkpoint],
                "pass": leg.split.pass_number,
                "distance": round(leg.split.distance, 1),
                "at": ms(leg.split.time),
                "elapsed": ms(leg.elapsed),
                "pace": None if leg.pace is None else round(1000 * leg.pace, 1),
                "uncertainty": leg.split.uncertainty,
                "corrected": leg.split.by_hand,
            }
            for leg in legs(row, listing.query.clock)
        ]
        rows.append(
            {
                "rank": ranked.rank,
                "category_rank": ranked.category_rank,
                "wave_rank": ranked.wave_rank,
                "runner": row.code,
                "bib": row.bib,
                "name": row.name,
                "category": row.category,
                "wave": row.wave,
                "club": row.club,
                "status": row.status,
                "state": row.state,
                "out": ms(row.out),
                "gun_time": ms(row.time("gun")),
                "chip_time": ms(row.time("chip")),
                "progress": None if row.distance is None else round(row.distance, 1),
                "gap": ms(gap.seconds),
                "gap_metres": None if gap.metres is None else round(gap.metres, 1),
                "seen": ms(row.last_fix_at),
                "last": split_rows[-1] if split_rows else None,
            }
            | ({"splits": split_rows} if splits else {})
        )
    return rows


def as_csv(listing: Listing) -> bytes:
    """Encode the rows as CSV, with a column for each passing of a checkpoint."""
    names = listing.names
    passes = sorted(
        (distance, stop, number)
        for (stop, number), distance in listing.ground.passes.items()
        if distance > 0
    )
    # The byte order mark lets spreadsheets detect UTF-8.
    text = io.StringIO("\ufeff")
    text.seek(0, io.SEEK_END)
    table = csv.writer(text)
    table.writerow(
        [
            *("rank", "category rank", "wave rank", "bib", "name", "category", "wave"),
            *("status", "gun time", "chip time", "distance"),
            *(
                shielded(names[stop] + (f" ({number})" if number > 1 else ""))
                for _, stop, number in passes
            ),
        ]
    )
    for ranked in listing.page:
        row = ranked.row
        elapsed = {
            (leg.split.checkpoint, leg.split.pass_number): leg.elapsed
            for leg in legs(row, listing.query.clock)
        }
        table.writerow(
            [
                *(ranked.rank, ranked.category_rank, ranked.wave_rank),
                *map(shielded, (row.bib, row.name, row.category, row.wave, row.status)),
                *map(hms, (row.time("gun"), row.time("chip"))),
                "" if row.distance is None else round(row.distance),
                *(hms(elapsed.get((stop, number))) for _, stop, number in passes),
            ]
        )
    return text.getvalue().encode()
