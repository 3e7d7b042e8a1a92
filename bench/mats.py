"""Play real splits through mats, and the same runners' phones through the pipeline.

    python -m bench.mats RESULTS.csv [--phones 500] [--every 5] [--swaps 20] [--cars 20]

Runners of the results run from mat to mat along a made-up course, with phones that have
the noise of bench.truth. Some carry each other's chip, and the phones of some others go
on by car. Everything is stored in a temporary database, each minute of the race in
turn. Prints the error of the position that a spectator sees at each minute, by the
phone alone and with the estimate between mats where the phone is silent; and how many
of these runners the desk flags because phone and mat disagree.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import django
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from bench.truth.runs import TrueRun
    from runners.models import Race
    from runners.positions.fix import Fix
    from runners.positions.pipeline import Pipeline
    from runners.races.arrival.results import Results
    from runners.simulation.mats import Plan
    from runners.timing.reads import Read

Floats = npt.NDArray[np.float64]
WOBBLE = 0.04
# How long ago the race started: everybody has finished since.
AGO = timedelta(hours=9)
MINUTE_S = 60
# Runners whose race is played at once, an even number. Of more, a minute would take
# so long on a busy machine that the pipeline reads each runner's state again.
AT_ONCE = 250
# A phone is silent after this time, as in clients (docs/protocol.md).
SILENT_S = 120.0


@dataclass(frozen=True)
class Carrier:
    """A runner with a phone. `begin` is the start in seconds after the gun."""

    entry: int
    runner: int
    code: str
    begin: float
    # Where the runner is at each minute after `begin` until the finish, from the first
    # on. In metres.
    minutes: Floats
    fixes: Sequence[Fix]
    # What the desk has to find: "", "swap" or "car".
    fault: str


@dataclass
class Seen:
    """What was stored of a runner: seconds after the gun, and metres or estimates."""

    fixes: Sequence[tuple[float, float]]
    estimates: Sequence[tuple[float, dict[str, Any]]]


def race_create(
    places: Sequence[tuple[float, float]], results: Results
) -> tuple[Race, Results]:
    """Make a race on a course; return it, and the results with its distances."""
    from django.utils import timezone

    from bench.truth.courses import course_of
    from runners.models import Checkpoint, Race

    course = course_of(list(places))
    start = timezone.now().replace(microsecond=0) - AGO
    race = Race.objects.create(
        slug="mats",
        name="Mats",
        start=start,
        ends=start + AGO + timedelta(hours=1),
        line=[list(point[:2]) for point in course.points],
        length=course.length,
    )
    mats = results.distances * (course.length / results.length)
    Checkpoint.objects.create(race=race, name="Start", distance=0.0, kind="start")
    for mat in mats.tolist():
        kind = "finish" if mat == mats[-1] else "split"
        Checkpoint.objects.create(
            race=race, name=f"{mat:.0f} m", distance=mat, kind=kind
        )
    return race, replace(results, distances=mats)


def true_run(
    mats: Floats,
    times: Floats,
    places: list[tuple[float, float]],
    line: Floats,
    seed: int,
    fault: str,
) -> TrueRun:
    """Run with the given splits. If by car, the phone is driven from a place on.

    `line` has the distances of the places along the course.
    """
    from bench.truth.runs import AFTER_S, BEFORE_S, TrueRun, drive
    from runners.races.arrival.backtest import run_between

    random = Random(seed)
    run = run_between(mats, times, WOBBLE, np.random.default_rng(seed))
    seconds = np.arange(-BEFORE_S, times[-1] + AFTER_S)
    distances = np.interp(seconds, run.times, run.distances)
    if fault == "car":
        leaves = random.uniform(0.1, 0.75) * mats[-1]
        distances = distances[distances < leaves]
    axes = np.array(places).T
    xs, ys = (np.interp(distances, line, axis) for axis in axes)
    truth = TrueRun(fault, xs.tolist(), ys.tolist(), distances.tolist())

    def point(distance: float) -> tuple[float, float]:
        x, y = (float(np.interp(distance, line, axis)) for axis in axes)
        return x, y

    def add(place: tuple[float, float], distance: float) -> None:
        truth.xs.append(place[0])
        truth.ys.append(place[1])
        truth.distances.append(distance)

    if fault == "car":
        drive(truth, point, float(distances[-1]), float(mats[-1]), random, add)
    return truth


def carriers_of(
    race: Race,
    results: Results,
    places: list[tuple[float, float]],
    options: argparse.Namespace,
) -> list[Carrier]:
    """Return the runners with phones, the first of which have a fault."""
    from bench.truth.courses import course_of
    from bench.truth.runs import GUN_MS, record
    from runners.models import Entry
    from runners.positions.fix import Fix
    from runners.simulation.mats import START_TAKES_S
    from runners.units.clock import milliseconds

    entries = list(Entry.objects.filter(race=race).select_related("runner"))
    entries.sort(key=lambda entry: int(entry.runner.code.removeprefix("sim-")))
    line = np.array(course_of(places).distances)
    found = []
    for number, entry in enumerate(entries):
        fault = "swap" if number < options.swaps else ""
        if options.swaps <= number < options.swaps + options.cars:
            fault = "car"
        begin = round(START_TAKES_S * number / len(entries), 3)
        times = results.times[number]
        truth = true_run(results.distances, times, places, line, number, fault)
        dice = Random(f"{options.seed} {number}")
        recording = record(truth, places, options.every, "judging", dice)
        shift = milliseconds(race.start) - GUN_MS + round(begin * 1000)
        fixes = [
            Fix(fix.t + shift, fix.lat, fix.lng, fix.accuracy, None, fix.speed)
            for fix in recording.fixes
        ]
        found.append(
            Carrier(
                entry.pk,
                entry.runner_id,
                entry.runner.code,
                begin,
                minutes_of(truth),
                fixes,
                fault,
            )
        )
    return found


def minutes_of(truth: TrueRun) -> Floats:
    """Return the true distance at each minute from the start to the finish."""
    from bench.truth.runs import BEFORE_S

    run = np.array(truth.distances)
    finish = int(np.argmax(run >= run[-1]))
    return run[BEFORE_S + MINUTE_S : finish : MINUTE_S]


async def play(plan: Plan, carriers: Sequence[Carrier], swaps: int) -> dict[int, Seen]:
    """Store the races of all runners, and return what was stored by entry."""
    from asgiref.sync import sync_to_async

    from runners.live.hub import Hub
    from runners.live.layer import LocalLayer
    from runners.positions.pipeline import Pipeline
    from runners.positions.recorder import Recorder
    from runners.units.clock import milliseconds

    pipeline = Pipeline(Hub(LocalLayer()), Recorder())
    gun = milliseconds(plan.race.start)
    reads = reads_of(plan, swaps)
    found: dict[int, Seen] = {}
    for at in range(0, len(carriers), AT_ONCE):
        some = carriers[at : at + AT_ONCE]
        own = reads[at : at + AT_ONCE]
        estimates = await play_some(pipeline, plan.race, some, own)
        for carrier in some:
            fixes = await sync_to_async(stored_progress)(carrier.runner, gun)
            found[carrier.entry] = Seen(fixes, estimates[carrier.entry])
        cpu = time.process_time()
        print(f"{len(found)} runners, {cpu:.0f} s of CPU", file=sys.stderr)
    await pipeline.close()
    await asyncio.to_thread(pipeline.recorder.stop)
    await pipeline.hub.close()
    return found


async def play_some(
    pipeline: Pipeline,
    race: Race,
    carriers: Sequence[Carrier],
    reads: Sequence[Sequence[tuple[float, Read]]],
) -> Mapping[int, list[tuple[float, dict[str, Any]]]]:
    """Store each minute of some runners' race, and return their estimates by entry."""
    from asgiref.sync import sync_to_async

    from runners.positions.track import Publisher
    from runners.units.clock import milliseconds

    gun = milliseconds(race.start)
    by_minute: dict[int, list[tuple[Carrier, list[Fix]]]] = defaultdict(list)
    for carrier in carriers:
        own: dict[int, list[Fix]] = defaultdict(list)
        for fix in carrier.fixes:
            own[(fix.t - gun) // (1000 * MINUTE_S)].append(fix)
        for minute, fixes in own.items():
            by_minute[minute].append((carrier, fixes))
    due: dict[int, list[Read]] = defaultdict(list)
    for second, read in chain.from_iterable(reads):
        due[int(second // MINUTE_S)].append(read)
    estimates: dict[int, list[tuple[float, dict[str, Any]]]] = defaultdict(list)
    for minute in sorted(by_minute.keys() | due.keys()):
        for carrier, fixes in by_minute[minute]:
            publisher = Publisher(carrier.runner, carrier.code)
            receipt = await pipeline.accept(publisher, fixes, source="bench")
        if by_minute[minute] and receipt.stored:
            await receipt.stored
        if due[minute]:
            changed = await sync_to_async(passings_stored)(race, due[minute])
            for entry, estimate in changed:
                estimates[entry].append(((estimate["t"] - gun) / 1000, estimate))
    return estimates


def reads_of(plan: Plan, swaps: int) -> list[list[tuple[float, Read]]]:
    """Return the reads of each runner's passings, with the seconds after the gun.

    Pairs of the first runners carry each other's chip.
    """
    from runners.timing.reads import read_of

    found: dict[int, list[tuple[float, Read]]] = defaultdict(list)
    for at, station, chip in plan.passings:
        number = int(chip[1:])
        carried = f"S{number ^ 1:06}" if number < swaps else chip
        moment = plan.race.start + timedelta(seconds=at)
        read = read_of(station, f"{station} {carried} {at}", carried, moment)
        found[number].append((at, read))
    return [found[number] for number in sorted(found)]


def passings_stored(race: Race, reads: Sequence[Read]) -> list[tuple[int, Any]]:
    """Store passings; return the entries that have an estimate now."""
    from runners.models import Chip, Entry, Passing
    from runners.timing.storage import passings_store

    passings_store(race=race, source=Passing.Source.MYLAPS, reads=reads)
    chips = Chip.objects.filter(race=race, code__in={read.chip for read in reads})
    entries = Entry.objects.filter(pk__in=chips.values("entry"))
    return list(entries.exclude(estimate=None).values_list("pk", "estimate"))


def stored_progress(runner: int, gun: int) -> list[tuple[float, float]]:
    """Return the stored fixes with a progress, in the order of time."""
    from runners.models import Position

    rows = Position.objects.filter(runner=runner).order_by("recorded_at")
    found = rows.values_list("recorded_at", "progress")
    return [(t.timestamp() - gun / 1000, p) for t, p in found if p is not None]


def errors(carrier: Carrier, seen: Seen) -> list[tuple[float, float, bool]]:
    """Return the error by phone alone and with mats, and whether it was silent."""
    found = []
    fix_times = [t for t, _ in seen.fixes]
    mat_times = [t for t, _ in seen.estimates]
    for minute, truth in enumerate(carrier.minutes.tolist(), start=1):
        now = carrier.begin + minute * MINUTE_S
        fix, mat = bisect_right(fix_times, now) - 1, bisect_right(mat_times, now) - 1
        if fix < 0 or mat < 0:
            continue
        at, alone = seen.fixes[fix]
        since, estimate = seen.estimates[mat]
        with_mats = alone
        silent = now - at > SILENT_S and since > at
        if silent:
            nodes = np.array(estimate["nodes"])
            with_mats = float(np.interp(now - since, nodes[:, 0], nodes[:, 1]))
        found.append((abs(alone - truth), abs(with_mats - truth), silent))
    return found


def show(carriers: Sequence[Carrier], seen: Mapping[int, Seen], race: Race) -> None:
    from runners.admin.desk.disagreements import disagreements
    from runners.rights.roles import Action

    sound = [carrier for carrier in carriers if not carrier.fault]
    rows = [row for each in sound for row in errors(each, seen[each.entry])]
    for name, chosen in (
        ("all minutes", rows),
        ("mat after the phone", [row for row in rows if row[2]]),
    ):
        if chosen:
            alone, with_mats, _ = np.array(chosen, float).T
            print(
                f"{name}: {len(chosen)}; error by phone alone {alone.mean():.1f} m, "
                f"with mats {with_mats.mean():.1f} m; "
                f"p95 {np.quantile(alone, 0.95):.0f} and "
                f"{np.quantile(with_mats, 0.95):.0f} m"
            )
    shown = {carrier.entry: lambda at: True for carrier in carriers}
    flagged = disagreements(race, shown, {Action.POSITIONS, Action.TIMES})
    for fault in ("swap", "car", ""):
        own = [carrier for carrier in carriers if carrier.fault == fault]
        hit = [carrier for carrier in own if carrier.entry in flagged]
        print(f"{fault or 'no fault'}: {len(hit)} of {len(own)} flagged")
        for carrier in own:
            if (carrier.entry in flagged) != bool(fault):
                print("   wrong:", carrier.code, flagged.get(carrier.entry))


def measure(options: argparse.Namespace) -> None:
    """Play the race in the present database."""
    from bench.truth.courses import winding
    from runners.races.arrival.results import read_results
    from runners.simulation.mats import plan_of

    results = read_results(options.results.read_bytes())
    complete = np.flatnonzero(~np.isnan(results.times).any(axis=1))
    dice = np.random.default_rng(options.seed)
    drawn = dice.choice(complete, options.phones, replace=False)
    results = replace(results, times=results.times[drawn], rows=results.rows[drawn])
    places = winding(Random(options.seed), results.length, 0.06)
    race, results = race_create(places, results)
    plan = plan_of(race, results)
    carriers = carriers_of(race, results, places, options)
    began, cpu = time.monotonic(), time.process_time()
    seen = asyncio.run(play(plan, carriers, options.swaps))
    fixes = sum(len(carrier.fixes) for carrier in carriers)
    print(
        f"{len(carriers)} phones, {fixes} fixes, {len(plan.passings)} passings, "
        f"{plan.passings[-1].at / 3600:.1f} h of race in "
        f"{time.monotonic() - began:.0f} s, {time.process_time() - cpu:.0f} s of CPU"
    )
    show(carriers, seen, race)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--phones", type=int, default=500)
    parser.add_argument("--every", type=int, default=5, metavar="SECONDS")
    parser.add_argument("--swaps", type=int, default=20, help="an even number")
    parser.add_argument("--cars", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spectate-mats-") as folder:
        os.environ["DATABASE_URL"] = f"sqlite:///{folder}/db.sqlite3"
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spectate.settings")
        os.environ.setdefault("SECRET_KEY", "bench")
        os.environ.setdefault("DEBUG", "1")
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        measure(options)


if __name__ == "__main__":
    main()
