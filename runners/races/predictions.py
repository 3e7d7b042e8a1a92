"""Keeps predictions of when runners pass places.

A prediction is for the whole course, and shared for some seconds by all places and
viewers. It is read without regard to rights: `Prediction.since` applies those.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import compress
from threading import Lock
from typing import Any

import orjson
from django.utils import timezone

from runners.models import Entry, Race
from runners.races.arrival.eta import Arrival, arrivals, probable_place
from runners.races.arrival.ranges import Curve, Passed, is_predictable
from runners.races.race_data import Ground, known_of, results_of, rows_of, samples_of
from runners.races.standings import Row

Answer = dict[str, Any]

# How long a prediction is used.
AGE_S = 20.0
# The age from which on it should be read again, so that nobody has to wait.
DUE_S = 10.0
# Predictions in the cache. One has about 6 kB, and 0.2 kB more per place.
KEPT = 8_192
# Places whose answers a prediction keeps.
ANSWERS_KEPT = 64


class Prediction:
    """A runner's arrivals at all places, as of the moment when they were read."""

    def __init__(
        self,
        row: Row,
        samples: Sequence[Passed],
        curve: Curve | None,
        ground: Ground,
        now: datetime,
    ) -> None:
        self.read_at = time.monotonic()
        self._row = row
        self._ground = ground
        self._now = now
        self._known = known_of(row, samples, ground, now, curve)
        self._about = self._describe()
        self._answers: dict[tuple[float, ...], orjson.Fragment] = {}

    def since(self, begin: float) -> Prediction | None:
        """Return the prediction for a viewer who sees no position from before a time.

        None if the last position is one of these.
        """
        row = self._row.since(begin)
        if row.last_fix_at != self._row.last_fix_at:
            return None
        results = set(results_of(row))
        samples = [s for s in self._known.samples if s.time >= begin or s in results]
        if row is self._row and len(samples) == len(self._known.samples):
            return self
        (prediction,) = _predictions([(row, samples)], self._ground, self._now)
        return prediction

    def answer(self, passes: tuple[float, ...]) -> orjson.Fragment:
        """Return the runner's part of an answer, for the passes of a place."""
        answer = self._answers.get(passes)
        if answer is None:
            found = arrivals(passes, self._known)
            body = orjson.dumps(self._about | {"passes": _said(found)})
            if len(self._answers) >= ANSWERS_KEPT:
                self._answers.clear()
            answer = self._answers[passes] = orjson.Fragment(body)
        return answer

    def _describe(self) -> Answer:
        row = self._row
        place = probable_place(self._known)
        return {
            "runner": row.code,
            "name": row.name,
            "bib": row.bib,
            "status": row.status,
            "progress": None if row.distance is None else round(row.distance, 1),
            "seen": _ms(row.last_fix_at),
            "probable": place
            and {
                "progress": round(place.distance, 1),
                "from": round(place.nearest, 1),
                "to": round(place.farthest, 1),
            },
        }


# By race, its last change, and runner; of runners whom some viewer may see.
_kept: dict[tuple[int, object, int], Prediction] = {}
# How often predictions were discarded.
_discards = 0
_lock = Lock()


def predictions_of(
    race: Race, ground: Ground, runners: Collection[int]
) -> dict[int, Prediction]:
    """Return the predictions of runners, at most AGE_S old.

    Causes five queries if one has to be read.
    """
    known = _younger(race, runners, AGE_S)
    missing = [runner for runner in runners if runner not in known]
    return known | renew_predictions(race, ground, missing) if missing else known


def due_predictions(race: Race, runners: Iterable[int]) -> list[int]:
    """Return the runners whose predictions should be read again."""
    young = _younger(race, runners, DUE_S)
    return [runner for runner in runners if runner not in young]


def renew_predictions(
    race: Race, ground: Ground, runners: Collection[int]
) -> dict[int, Prediction]:
    """Read the predictions of runners and keep them. Causes five queries."""
    discards = _discards
    rows = rows_of(race, ground, runners)
    now = timezone.now()
    samples = samples_of(rows, now)
    found = _predictions([(row, samples[row.runner]) for row in rows], ground, now)
    new = {row.runner: of for row, of in zip(rows, found, strict=True)}
    with _lock:
        # Otherwise positions may have been erased since they were read.
        if discards == _discards:
            _keep(race, new)
    return new


def _predictions(
    of: Sequence[tuple[Row, Sequence[Passed]]], ground: Ground, now: datetime
) -> list[Prediction]:
    assert ground.slopes is not None
    has_curve = [
        row.status == Entry.Status.STARTED and is_predictable(samples)
        for row, samples in of
    ]
    running = [samples for _, samples in compress(of, has_curve)]
    curves = iter(Curve.of_many(running, ground.slopes, ground.prior))
    return [
        Prediction(row, samples, next(curves) if running else None, ground, now)
        for (row, samples), running in zip(of, has_curve, strict=True)
    ]


def discard_predictions(runners: Collection[int]) -> None:
    """Discard the predictions of runners whose positions or rights have changed."""
    global _discards
    with _lock:
        _discards += 1
        for key in [key for key in _kept if key[-1] in runners]:
            del _kept[key]


def _younger(race: Race, runners: Iterable[int], age_s: float) -> dict[int, Prediction]:
    oldest = time.monotonic() - age_s
    with _lock:
        return {
            runner: kept
            for runner in runners
            if (kept := _kept.get((race.pk, race.changed_at, runner)))
            and kept.read_at >= oldest
        }


def _keep(race: Race, new: dict[int, Prediction]) -> None:
    for runner, prediction in new.items():
        key = race.pk, race.changed_at, runner
        # Move it to the end, so that the oldest are discarded first.
        _kept.pop(key, None)
        _kept[key] = prediction
    while len(_kept) > KEPT:
        del _kept[next(iter(_kept))]


def _said(found: Iterable[Arrival]) -> list[Answer]:
    return [
        {
            "pass": arrival.pass_number,
            "distance": round(arrival.distance, 1),
            "status": arrival.status,
            "at": _ms(arrival.at),
            "earliest": _ms(arrival.earliest),
            "latest": _ms(arrival.latest),
        }
        for arrival in found
    ]


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
