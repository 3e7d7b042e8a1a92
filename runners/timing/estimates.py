"""Computes where runners are estimated to be after the last mat that has seen them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from runners.models import Entry, Race, Split
from runners.positions.fix import Fix
from runners.positions.privacy_rules import PrivacyRules
from runners.positions.validation import FixError
from runners.races.arrival.estimate import estimated_nodes
from runners.races.arrival.ranges import Passed
from runners.races.course import Course
from runners.races.race_data import START_DOUBT_S, Ground
from runners.timing.chain import StationPass
from runners.units.clock import now_ms

# A privacy zone is looked for at these distances of the way to the next mat.
ZONE_STEP_M = 50.0


@dataclass(frozen=True)
class Mat:
    """The next mat of a runner."""

    distance: float
    checkpoint: int


def estimates_set(
    *,
    race: Race,
    ground: Ground,
    entries: Sequence[Entry],
    passes: Mapping[int, Sequence[StationPass]],
    rules: Mapping[int, PrivacyRules],
) -> None:
    """Compute the estimates of entries with changed splits; the caller stores them.

    `passes`: those of stations; `rules`: of runners who may hide a place. Causes a
    query.
    """
    for entry in entries:
        entry.estimate = None
    if ground.slopes is None:
        return
    samples = _samples(race, ground, entries)
    laid = sorted({(p.distance, p.checkpoint) for own in passes.values() for p in own})
    ahead: list[tuple[Entry, Mat]] = []
    for entry in entries:
        last = samples[entry.pk][-1]
        mat = _next_mat(last.distance, laid, ground)
        if mat is None or last.doubt == START_DOUBT_S:
            continue
        own = rules.get(entry.runner_id)
        if own is None or _is_shared(last, mat, own, ground.course):
            ahead.append((entry, mat))
    nodes = estimated_nodes(
        [(samples[entry.pk], mat.distance) for entry, mat in ahead],
        ground.slopes,
        ground.prior,
    )
    for (entry, mat), own_nodes in zip(ahead, nodes, strict=True):
        t = round(samples[entry.pk][-1].time * 1000)
        # As in a snapshot (docs/protocol.md).
        entry.estimate = {"t": t, "checkpoint": mat.checkpoint, "nodes": own_nodes}


def _samples(
    race: Race, ground: Ground, entries: Sequence[Entry]
) -> dict[int, list[Passed]]:
    """Return the start and the splits of each entry in the order of the course."""
    splits: dict[int, list[Passed]] = defaultdict(list)
    stored = Split.objects.filter(entry__in=[entry.pk for entry in entries])
    for pk, checkpoint, number, time, doubt in stored.values_list(
        "entry", "checkpoint", "pass_number", "time", "uncertainty"
    ):
        if (distance := ground.passes.get((checkpoint, number))) is not None:
            splits[pk].append(Passed(time.timestamp(), distance, doubt))
    samples = {}
    for entry in entries:
        gun = entry.wave.start if entry.wave else race.start
        begin = Passed(gun.timestamp(), 0.0, START_DOUBT_S)
        own = sorted(splits[entry.pk], key=lambda sample: sample.distance)
        samples[entry.pk] = _increasing(begin, own)
    return samples


def _increasing(begin: Passed, splits: Iterable[Passed]) -> list[Passed]:
    """Leave out what a phone measured before an earlier place of the course."""
    known = [begin]
    for sample in splits:
        if sample.distance <= 0:
            known = [sample]
        elif sample.time > known[-1].time and sample.distance > known[-1].distance:
            known.append(sample)
    return known


def _next_mat(
    here: float, laid: Collection[tuple[float, int]], ground: Ground
) -> Mat | None:
    """Return the next mat on the course.

    The first runners are ahead of all mats that have seen anybody: then any checkpoint
    counts as one.
    """
    stops = sorted((metres, key[0]) for key, metres in ground.passes.items())
    for mats in (laid, stops):
        for distance, checkpoint in mats:
            if distance > here:
                return Mat(distance, checkpoint)
    return None


def _is_shared(
    here: Passed, mat: Mat, rules: PrivacyRules, course: Course | None
) -> bool:
    """Return whether a runner shares their way from here to the next mat."""
    if course is None:
        return True
    moment = now_ms()
    steps = int((mat.distance - here.distance) / ZONE_STEP_M) + 1
    try:
        rules.check(Fix(round(here.time * 1000), *course.point_at(here.distance)))
        for step in range(steps + 1):
            distance = min(here.distance + step * ZONE_STEP_M, mat.distance)
            rules.check(Fix(moment, *course.point_at(distance)))
    except FixError:
        return False
    return True
