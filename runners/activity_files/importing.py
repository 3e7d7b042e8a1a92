"""Fills the gaps of a runner's track in a race from a file, and recomputes the splits.

Positions of a file obey the same rules as those of phones: those at times and places
that the runner does not share are left out, and the course and the top speed decide
which are plausible. Importing the same file again changes nothing.
"""

from __future__ import annotations

import zoneinfo
from bisect import bisect
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from runners.activity_files.formats import FileError
from runners.models import Entry, LatestPosition, Position, Race, RightsChange
from runners.positions.active_entry import ActiveEntry, active_entry
from runners.positions.fix import Fix
from runners.positions.privacy_rules import read_rules
from runners.positions.recompute import file_passings, recompute
from runners.positions.running import Running, StoredFix, read_stored
from runners.positions.storage import FILE, Row, write_rows
from runners.positions.validation import FixError, check_fix
from runners.races.progress import State
from runners.races.race_data import ground_of
from runners.races.splits import Passing
from runners.units.clock import milliseconds, moment_of, now_ms

# One position per interval is used: watches record one per second.
INTERVAL_MS = 5_000
# Where a phone has sent a position within this time, that of the file is not needed.
GAP_MS = 30_000
# The start is found from positions since this time before the gun.
BEFORE_GUN_MS = 600_000
# Positions end this long after the finish, because the way home is nobody's business.
AFTER_FINISH_MS = 60_000
# With a smaller share of its positions on the course, a file is of a different one. Of
# so many positions, those within this distance of the line count.
LEAST_ON_COURSE = 0.5
SAMPLE = 100
ON_COURSE_M = 100.0


@dataclass(frozen=True)
class FilePlan:
    """What an import would store: `fixes`, and how many positions it leaves out.

    `begin` and `end` are the times of the first and last position during the race.
    `after`: after the finish, `known`: where a position is stored already, `hidden`:
    not shared by the runner, `held`: implausible. `splits`: the name of each checkpoint
    whose time comes from the file, its pass, and the time.
    """

    fixes: Sequence[Fix]
    begin: datetime
    end: datetime
    after: int
    known: int
    hidden: int
    held: int
    splits: Sequence[tuple[str, int, datetime]]


def file_plan(*, entry: Entry, fixes: Sequence[Fix], is_own: bool = False) -> FilePlan:
    """Return what an import of positions would do; raises `FileError`.

    `is_own`: runners import their file of the whole race, even if they accepted the
    entry later. Others see the times, but no position from before the acceptance.
    """
    active = _active(entry, is_own)
    during = _during(active, fixes)
    if not during:
        raise FileError(_wrong_day(entry, fixes))
    _check_course(entry.race, [fix for fix in during if fix.t >= active.gun])
    shared = _shared(entry.runner_id, during)
    stored = read_stored(entry.runner_id, active)
    new = _in_gaps(shared, [row.fix.t for row in stored])
    rows = sorted([*stored, *map(StoredFix.of_file, new)], key=lambda row: row.fix.t)
    replay = active.guide.replay(active.gun, [row.fix for row in rows])
    until = active.ends
    if replay.state.finished is not None:
        until = replay.state.finished + AFTER_FINISH_MS
    used = {fix.t for fix in new if fix.t <= until}
    found = zip(rows, replay.held, strict=True)
    held = [held for row, held in found if row.fix.t in used]
    return FilePlan(
        fixes=[fix for fix in new if fix.t in used],
        begin=moment_of(during[0].t),
        end=moment_of(during[-1].t),
        after=len(new) - len(used),
        known=len(shared) - len(new),
        hidden=len(during) - len(shared),
        held=sum(held),
        splits=_named(entry, file_passings(rows, replay.splits)),
    )


@transaction.atomic
def file_import(
    *, entry: Entry, fixes: Sequence[Fix], is_own: bool = False
) -> FilePlan:
    """Store the positions that fill gaps, and recompute the splits."""
    Entry.objects.lock([entry.pk])
    plan = file_plan(entry=entry, fixes=fixes, is_own=is_own)
    active = _active(entry, is_own)
    now = timezone.now()
    Position.objects.bulk_create(
        [
            Position(
                runner_id=entry.runner_id,
                recorded_at=moment_of(fix.t),
                lat=fix.lat,
                lng=fix.lng,
                altitude=fix.altitude,
                source=FILE,
                stored_at=now,
            )
            for fix in plan.fixes
        ],
        ignore_conflicts=True,
        batch_size=200,
    )
    recomputed = recompute(entry.runner_id, active)
    if recomputed is not None:
        _store_latest(entry.runner_id, active, recomputed.state)
        changed = {(each.mark, each.pass_number) for each in recomputed.splits}
        _notify(entry, changed)
    return plan


def _active(entry: Entry, is_own: bool) -> ActiveEntry:
    if not Entry.objects.shown().filter(pk=entry.pk).exists():
        raise FileError(_("The runner has not accepted this entry."))
    if not Race.objects.filter(pk=entry.race_id).exclude(line=[]).exists():
        raise FileError(_("This race has no course yet."))
    return active_entry(entry, is_own=is_own)


def _during(active: ActiveEntry, fixes: Iterable[Fix]) -> list[Fix]:
    """Return the positions of the race, the first one of each interval."""
    begin = max(active.opens, active.gun - BEFORE_GUN_MS)
    slots: dict[int, Fix] = {}
    for fix in fixes:
        if begin <= fix.t <= active.ends:
            slots.setdefault(fix.t // INTERVAL_MS, fix)
    return list(slots.values())


def _wrong_day(entry: Entry, fixes: Sequence[Fix]) -> str:
    zone = zoneinfo.ZoneInfo(entry.race.timezone)
    of_file, of_race = (
        date_format(moment.astimezone(zone), "j M Y, H:i")
        for moment in (moment_of(fixes[0].t), entry.gun)
    )
    return _(
        "The file begins on {file}, and the race on {race}: it has no position during "
        "the race. Is the clock of the watch right?"
    ).format(file=of_file, race=of_race)


def _shared(runner: int, fixes: Iterable[Fix]) -> list[Fix]:
    """Return the positions that a phone could have sent."""
    rules, now = read_rules(runner), now_ms()
    shared = []
    for fix in fixes:
        try:
            check_fix(fix, now)
            rules.check(fix)
        except FixError:
            continue
        shared.append(fix)
    return shared


def _in_gaps(fixes: Iterable[Fix], stored: Sequence[int]) -> list[Fix]:
    """Return the positions that are not near a stored one; `stored` is sorted."""
    found = []
    for fix in fixes:
        after = bisect(stored, fix.t)
        near = stored[max(0, after - 1) : after + 1]
        if all(abs(fix.t - t) > GAP_MS for t in near):
            found.append(fix)
    return found


def _check_course(race: Race, fixes: Sequence[Fix]) -> None:
    """Refuse a file whose positions are not on the course; looks at some of them."""
    course = ground_of(race).course
    assert course is not None
    some = fixes[:: len(fixes) // SAMPLE + 1]
    on_course = sum(
        bool(course.passes(fix.lat, fix.lng, within=ON_COURSE_M)) for fix in some
    )
    if on_course < LEAST_ON_COURSE * len(some):
        raise FileError(
            _(
                "Only {share} % of the positions are on the course of this race. Is "
                "the file of a different one?"
            ).format(share=round(100 * on_course / len(some)))
        )


def _named(
    entry: Entry, passings: Iterable[Passing]
) -> list[tuple[str, int, datetime]]:
    """Return the splits that the file gives, without those of mats and by hand."""
    settled = set(entry.splits.settled().values_list("checkpoint", "pass_number"))
    names = dict(entry.race.checkpoints.values_list("pk", "name"))
    return [
        (names[each.mark], each.pass_number, moment_of(each.at))
        for each in passings
        if (each.mark, each.pass_number) not in settled
    ]


def _store_latest(runner: int, active: ActiveEntry, state: State) -> None:
    """Move the latest position forward to the file's, and store the race's state."""
    carried = Running(active, state).carried()
    newest = Position.objects.filter(runner=runner, held=False).last()
    if newest is not None and newest.source == FILE:
        fix = Fix(
            milliseconds(newest.recorded_at),
            newest.lat,
            newest.lng,
            altitude=newest.altitude,
        )
        write_rows([Row(runner, fix, FILE, newest.progress)])
    LatestPosition.objects.filter(runner=runner).update(race_state=carried)


def _notify(entry: Entry, changed: Collection[tuple[int, int]]) -> None:
    """Let all processes read the runner's state again, and send the splits."""
    splits = [
        pk
        for pk, *key in entry.splits.values_list("pk", "checkpoint", "pass_number")
        if tuple(key) in changed
    ]
    RightsChange.objects.note(RightsChange.Kind.RUNNER, [entry.runner_id])
    RightsChange.objects.note(RightsChange.Kind.SPLIT, splits)
