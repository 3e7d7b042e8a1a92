"""The metrics of this process and of its sibling workers.

The hot path keeps plain numbers, which are read on request. Each of several workers
also writes its numbers to a file in a shared folder every `INTERVAL_S`, so that
whichever worker answers on the port can show all of them, with the label `worker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from runners.live.age_histogram import AGE_BOUNDS_S
from runners.live.hub import Hub
from runners.serving.garbage_collection import resident_bytes
from runners.serving.process import Process, Source

# Time between two writes of a worker's numbers.
INTERVAL_S = 1.0
# An older file belongs to a worker that has ended.
STALE_S = 10.0

Kind = Literal["gauge", "counter", "histogram"]


class Reading(NamedTuple):
    """A metric: its values by the label `reason`, "" for none.

    The values of a histogram are its counts in the order of the bounds, then the sum.
    """

    kind: Kind
    name: str
    text: str
    values: Mapping[str, float]


def read_process(process: Process) -> list[Reading]:
    """Read this process's metrics; takes some milliseconds with 15,000 sockets."""
    hub, recorder, pipeline = process.hub, process.recorder, process.pipeline
    admission, notifier = process.admission, process.notifier
    waiting = [outbox.waiting for outbox in hub.sockets]
    gauges: tuple[tuple[str, str, float], ...] = (
        ("sockets", "Websockets that are open.", len(hub.sockets)),
        ("sockets_behind", "Websockets that do not keep up.", _behind(hub)),
        ("outbox_depth", "Positions queued for all sockets.", sum(waiting)),
        ("outbox_depth_most", "The most for one socket.", max(waiting, default=0)),
        ("groups", "Channel-layer groups that this process has joined.", hub.groups),
        ("follows", "Pairs of a follower and a runner.", hub.follows),
        ("whole_follows", "Pairs of a socket and a race.", process.topics.follows),
        ("tasks", "Tasks of the event loop.", len(asyncio.all_tasks())),
        ("loop_lag_seconds", "Recent lag of the event loop.", admission.lag),
        (
            "layer_lag_seconds",
            "Time that the last probe took through the layer.",
            hub.loss_detector.layer_lag,
        ),
        ("leaving", "1 while the process is draining.", admission.draining),
        ("overloaded", "1 while new sockets are refused.", admission.overloaded),
        ("recorder_waiting", "Fixes not committed yet.", recorder.waiting),
        (
            "oldest_unstored_seconds",
            "Age of the oldest fix that is not committed.",
            recorder.oldest,
        ),
        ("commit_seconds", "Duration of the last commit.", recorder.commit_seconds),
        ("resident_bytes", "Memory of the process.", resident_bytes()),
    )
    counters: tuple[tuple[str, str, float], ...] = (
        ("deliveries", "Positions written to sockets.", hub.delivered),
        ("merged", "Positions replaced by newer ones before sending.", hub.merged),
        ("accepted", "Fixes accepted.", pipeline.accepted),
        ("stored", "Fixes committed.", recorder.stored),
        ("unsent", "Events that the layer did not accept.", pipeline.unsent),
        (
            "gaps",
            "Times that the layer may have lost events.",
            hub.loss_detector.losses,
        ),
        ("notifications_queued", "Notifications queued.", notifier.queued),
        ("notifications_pushed", "Web pushes sent.", notifier.results.sent["push"]),
        ("notifications_mailed", "Mails sent.", notifier.results.sent["mail"]),
        ("webhooks_delivered", "Webhooks delivered.", process.webhooks.delivered),
        ("layer_dropped", "Events that the layer dropped.", hub.layer.dropped),
        ("cpu_seconds", "Processor time, user and system.", time.process_time()),
    )
    by_reason = (
        (
            "webhooks_failed",
            "Attempts to deliver a webhook that failed.",
            process.webhooks.failed,
        ),
        (
            "notifications_failed",
            "Notifications that failed or are tried again.",
            notifier.results.failed,
        ),
        ("refused", "Fixes refused.", pipeline.refused),
        ("not_stored", "Fixes shown but not stored.", recorder.not_stored),
        ("sockets_refused", "Sockets refused.", admission.refused),
    )
    ages = {str(number): count for number, count in enumerate(hub.ages.counts)}
    return [
        *(Reading("gauge", name, text, {"": value}) for name, text, value in gauges),
        *(Reading("counter", name, text, {"": v}) for name, text, v in counters),
        *(
            Reading("counter", name, text, dict(counts))
            for name, text, counts in by_reason
        ),
        Reading(
            "histogram",
            "delivery_age_seconds",
            "Age of positions when written to a socket, from their acceptance.",
            ages | {"sum": hub.ages.total},
        ),
        *(reading for source in process.sources for reading in _read_source(source)),
    ]


def _read_source(source: Source) -> list[Reading]:
    connected = "1 while the server of this source accepts us."
    reasons = dict(source.refused)
    return [
        Reading("gauge", f"{source.name}_connected", connected, {"": source.connected}),
        Reading(
            *("counter", f"{source.name}_messages", "Messages received."),
            {"": source.taken},
        ),
        Reading(*("counter", f"{source.name}_refused", "Messages refused."), reasons),
    ]


def _behind(hub: Hub) -> int:
    return sum(outbox.writer.behind for outbox in hub.sockets)


class MetricsBoard:
    """The folder in which workers share their numbers."""

    def __init__(self, process: Process, folder: Path, number: int) -> None:
        self.process = process
        self.folder = folder
        self.number = number
        self._path = folder / f"{number}-{os.getpid()}.json"
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to write the readings."""
        self._task = asyncio.get_running_loop().create_task(self._write_often())

    async def _write_often(self) -> None:
        while not self.process.admission.draining:
            other = self._path.with_suffix(".new")
            # Small, and in memory if the temporary folder of the system is.
            with contextlib.suppress(OSError):
                other.write_bytes(
                    orjson.dumps(list(map(tuple, read_process(self.process))))
                )
                other.replace(self._path)
            await asyncio.sleep(INTERVAL_S)
        # From here on the worker's replacement is counted instead.
        self._path.unlink(missing_ok=True)

    def others(self) -> dict[int, list[Reading]]:
        """Map the numbers of sibling workers to their latest readings."""
        newest: dict[int, tuple[float, Path]] = {}
        for path in self.folder.glob("*.json"):
            number = int(path.name.partition("-")[0])
            with contextlib.suppress(OSError):
                written = path.stat().st_mtime
                if number != self.number and written > time.time() - STALE_S:
                    newest[number] = max(
                        newest.get(number, (0.0, path)), (written, path)
                    )
        found = {}
        for number, (_, path) in newest.items():
            with contextlib.suppress(OSError, ValueError):
                found[number] = [
                    Reading(*row) for row in orjson.loads(path.read_bytes())
                ]
        return found


class ProcessCollector(Collector):
    """Collects the metrics of this process, or of all workers, for Prometheus."""

    def __init__(self, workers: Mapping[int | None, list[Reading]]) -> None:
        self.workers = workers

    def collect(self) -> Iterable[Metric]:
        by_name: dict[str, list[tuple[int | None, Reading]]] = {}
        for number, readings in self.workers.items():
            for reading in readings:
                by_name.setdefault(reading.name, []).append((number, reading))
        return map(_family, by_name.values())


def _family(readings: list[tuple[int | None, Reading]]) -> Metric:
    kind, name, text, _ = readings[0][1]
    name = f"spectate_{name}"
    workers = ["worker"] if readings[0][0] is not None else []
    if kind == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=workers)
        for number, reading in readings:
            labels = [str(number)] if workers else []
            histogram.add_metric(labels, *_buckets(reading.values))
        return histogram
    reasons = any(reason for _, reading in readings for reason in reading.values)
    labels = workers + (["reason"] if reasons else [])
    family: Any = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}[kind](
        name, text, labels=labels
    )
    for number, reading in readings:
        for reason, value in reading.values.items():
            own = [str(number)] if workers else []
            family.add_metric(own + ([reason] if reasons else []), float(value))
    return family  # type: ignore[no-any-return]


def _buckets(values: Mapping[str, float]) -> tuple[list[tuple[str, float]], float]:
    counts: Iterator[float] = itertools.accumulate(
        values[str(number)] for number in range(len(AGE_BOUNDS_S) + 1)
    )
    bounds = [*map(str, AGE_BOUNDS_S), "+Inf"]
    return list(zip(bounds, counts, strict=True)), values["sum"]


_noticeboard: MetricsBoard | None = None


def join_noticeboard(process: Process, folder: Path, number: int) -> None:
    """Share the metrics of this process, one of several workers, from now on."""
    global _noticeboard
    _noticeboard = MetricsBoard(process, folder, number)
    _noticeboard.start()


def collector(process: Process) -> ProcessCollector:
    """Return the collector of current numbers and of the siblings' latest ones."""
    if _noticeboard is None:
        return ProcessCollector({None: read_process(process)})
    own = {_noticeboard.number: read_process(process)}
    return ProcessCollector(dict(sorted((own | _noticeboard.others()).items())))
