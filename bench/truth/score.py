"""Scores of shown progress, compared with the truth."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median, quantiles

from bench.truth.runs import GUN_MS, Fix, Recording, TrueRun
from runners.races.progress import Guide, Passing
from runners.races.trace import Traced, trace

# At this distance from the truth, a runner is shown on a different leg or lap.
FAR_M = 500.0
# For this time after the runner's return, an alarm is not false.
ALARM_GRACE_S = 120


@dataclass
class Score:
    """Sums over the runs of one interval."""

    far_m: float = FAR_M
    fixes: int = 0
    unknown: int = 0
    within: int = 0
    rivals: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    rivals_far: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    stated: list[float] = field(default_factory=list)
    one_sigma: int = 0
    two_sigma: int = 0
    finishes: int = 0
    finishes_missed: int = 0
    splits: int = 0
    splits_missed: int = 0
    splits_within: int = 0
    split_uncertainty: list[float] = field(default_factory=list)
    split_error: list[float] = field(default_factory=list)
    split_between: list[float] = field(default_factory=list)
    splits_false: int = 0
    cars: int = 0
    cars_finished: int = 0
    far: int = 0
    far_unstated: int = 0
    hours: float = 0.0
    false_alarms: int = 0
    astray: int = 0
    astray_found: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        run: TrueRun,
        recording: Recording,
        guide: Guide,
        rivals: dict[str, list[float]],
        name: str,
    ) -> None:
        """Follow a recording and compare it with the truth."""
        fixes = recording.fixes
        shown: list[Traced] = []
        splits: dict[float, Passing] = {}
        for traced in trace(guide, GUN_MS, fixes):
            if isinstance(traced, Passing):
                splits[traced.distance] = traced
            else:
                shown.append(traced)
        if run.event == "car":
            self.cars += 1
            if any(one.state == "finished" for one in shown):
                self.cars_finished += 1
                self.notes.append(f"{name}: finished by car")
            return
        limit = max(15.0, 3 * recording.sigma)
        end = guide.finish
        true = [run.distance_at(fix.t) for fix in fixes]
        self._add_progress(fixes, shown, true, limit, end, name)
        for rival, found in rivals.items():
            far = False
            for distance, estimate in zip(true, found, strict=True):
                if 0 < distance < end:
                    self.rivals[rival] += abs(estimate - distance) <= limit
                    was, far = far, abs(estimate - distance) > FAR_M
                    self.rivals_far[rival] += far and not was
        self._add_splits(run, fixes, splits, guide, name)
        self._add_alarms(run, fixes, shown, name)

    def _add_progress(
        self,
        fixes: list[Fix],
        shown: list[Traced],
        true: list[float],
        limit: float,
        end: float,
        name: str,
    ) -> None:
        far = False
        for fix, one, distance in zip(fixes, shown, true, strict=True):
            if distance <= 0:
                far = self._note_far(fix, one, 0.0, far, name)
                continue
            if not distance < end:
                continue
            self.fixes += 1
            if one.progress is None:
                self.unknown += 1
                continue
            error = abs(one.progress - distance)
            self.within += error <= limit
            if one.uncertainty is not None:
                self.stated.append(one.uncertainty)
                self.one_sigma += error <= one.uncertainty
                self.two_sigma += error <= 2 * one.uncertainty
            far = self._note_far(fix, one, distance, far, name)

    def _note_far(
        self, fix: Fix, one: Traced, distance: float, was: bool, name: str
    ) -> bool:
        """Count the first of several fixes that are shown far from the truth."""
        error = (one.progress or 0.0) - distance
        far = abs(error) > self.far_m
        if far and not was:
            self.far += 1
            self.far_unstated += abs(error) > 3 * (one.uncertainty or 0.0)
            self.notes.append(
                f"{name}: {error:+.0f} m at {distance:.0f}, "
                f"t={(fix.t - GUN_MS) / 1000:.0f}, sigma {one.uncertainty}, "
                f"{one.state}"
            )
        return far

    def _add_splits(
        self,
        run: TrueRun,
        fixes: list[Fix],
        splits: dict[float, Passing],
        guide: Guide,
        name: str,
    ) -> None:
        if run.event == "stands":
            self.splits_false += len(splits)
            self.notes += [f"{name}: false split {distance:.0f}" for distance in splits]
            return
        times = [fix.t for fix in fixes]
        for distance in [passed.distance for passed in guide.passes]:
            at = run.time_at(distance)
            if at is None or sum(t > at for t in times) < 2:
                splits.pop(distance, None)
                continue
            finish = distance >= guide.finish
            found = splits.pop(distance, None)
            self.splits += 1
            self.finishes += finish
            if found is None:
                self.splits_missed += 1
                self.finishes_missed += finish
                self.notes.append(f"{name}: missed {distance:.0f}")
                continue
            error = abs(found.at - at) / 1000
            self.split_error.append(error)
            self.split_uncertainty.append(found.uncertainty)
            # The time between the fixes around the truth.
            after = bisect_left(times, at)
            self.split_between.append((times[after] - times[max(after - 1, 0)]) / 1000)
            self.splits_within += error <= found.uncertainty
            if error > max(3 * found.uncertainty, 20):
                self.notes.append(
                    f"{name}: split {distance:.0f} off by {error:.0f} s, "
                    f"+-{found.uncertainty:.0f}"
                )
        self.splits_false += len(splits)

    def _add_alarms(
        self, run: TrueRun, fixes: list[Fix], shown: list[Traced], name: str
    ) -> None:
        self.hours += (fixes[-1].t - fixes[0].t) / 3_600_000 if fixes else 0.0
        found: dict[tuple[int, int], float] = {}
        was = False
        for fix, one in zip(fixes, shown, strict=True):
            second = run.index(fix.t)
            off = one.state == "off_course"
            during = [
                (low, high)
                for low, high in run.astray
                if low <= second <= high + ALARM_GRACE_S
            ]
            if off and during:
                found.setdefault(during[0], second - during[0][0])
            elif off and not was and not math.isnan(run.distance_at(fix.t)):
                self.false_alarms += 1
                self.notes.append(
                    f"{name}: false alarm at t={(fix.t - GUN_MS) / 1000:.0f}"
                )
            was = off
        self.astray += len(run.astray)
        self.astray_found += found.values()

    def row(self) -> dict[str, str]:
        """Return the figures by name, as text."""
        known = max(self.fixes - self.unknown, 1)
        splits = max(self.splits - self.splits_missed, 1)
        rivals = {
            f"  {name}": f"{percent(count, self.fixes)} ({self.rivals_far[name]} far)"
            for name, count in self.rivals.items()
        }
        return {
            "fixes": f"{self.fixes:,}",
            "unknown": percent(self.unknown, self.fixes),
            "within": percent(self.within, self.fixes),
            **rivals,
            "stated sigma, median": f"{median(self.stated or [math.nan]):.1f} m",
            "within 1; 2 sigma": f"{percent(self.one_sigma, known)} "
            f"{percent(self.two_sigma, known)}",
            "finishes missed": f"{self.finishes_missed}/{self.finishes}",
            "splits missed": f"{self.splits_missed}/{self.splits}",
            "splits within": percent(self.splits_within, splits),
            "split error; stated": f"{median(self.split_error or [math.nan]):.1f} "
            f"{median(self.split_uncertainty or [math.nan]):.1f} s",
            "splits false": f"{self.splits_false}",
            "cars finished": f"{self.cars_finished}/{self.cars}",
            "far /1000 h": f"{self.far} {1000 * self.far / max(self.hours, 0.01):.1f}",
            "  beyond 3 sigma": f"{self.far_unstated}",
            "false alarms /50 h": f"{self.false_alarms} in {self.hours:.0f} h "
            f"{50 * self.false_alarms / max(self.hours, 0.01):.2f}",
            "astray found": f"{len(self.astray_found)}/{self.astray} after "
            f"{quartiles(self.astray_found)} s",
        }


def quartiles(values: list[float]) -> str:
    """Return the quartiles, as text."""
    if len(values) < 2:
        return f"{median(values or [math.nan]):.0f}"
    return " ".join(f"{value:.0f}" for value in quantiles(values))


def percent(part: int, total: int) -> str:
    return f"{100 * part / max(total, 1):.2f} %"
