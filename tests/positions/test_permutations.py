"""A track does not depend on the order in which its fixes arrive."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass

import polyline
import pytest
from asgiref.sync import sync_to_async
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runners.live.encoding.frames import Frames
from runners.live.events import (
    Cheered,
    LateFixes,
    PositionAccepted,
    RunnerEvent,
)
from runners.live.websocket_framing import frame_text
from runners.models import LatestPosition, Position, Runner
from runners.positions import recorder as recorder_module
from runners.positions.fix import Fix
from runners.positions.pipeline import Pipeline
from runners.positions.track import Publisher
from runners.snapshots.items import Item, add_trails, runner_items
from runners.units.clock import milliseconds, now_ms
from tests.waiting import within

numbers = itertools.count()


class Map:
    """The state of one runner in a typed client: points by time, and marker times."""

    def __init__(self) -> None:
        self.points: dict[int, tuple[float, float]] = {}
        self.markers: list[int] = []
        self.received_all = asyncio.Event()

    def receive(self, frames: Frames[RunnerEvent]) -> None:
        if isinstance(frames.event, Cheered):
            self.received_all.set()
        elif isinstance(frames.event, LateFixes):
            for t, lat, lng in json.loads(frame_text(frames.for_typed()))["fixes"]:
                self.points[t] = (lat, lng)
        elif isinstance(frames.event, PositionAccepted) and frames.for_typed():
            _, t, lat, lng, *_ = json.loads(frames.for_typed())
            self.points[t] = (lat, lng)
            self.markers.append(t)


@dataclass
class Delivery:
    """The arrival of a track: batches of fix numbers, some repeated.

    `forgotten`: numbers of batches before which the process forgets the runner, as
    after a restart or on a process that has not seen them.
    """

    ages: list[int]  # The times of the fixes, in milliseconds.
    batches: list[list[int]]
    forgotten: set[int]


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    # All fixes are within the five minutes of a trail.
    ages = draw(st.lists(st.integers(0, 240_000), min_size=1, max_size=25, unique=True))
    every = list(range(len(ages)))
    again = draw(st.lists(st.sampled_from(every), max_size=15))
    order = draw(st.permutations(every + again))
    cuts = draw(st.sets(st.integers(1, len(order)), max_size=8))
    bounds = sorted({0, *cuts, len(order)})
    batches = [order[a:b] for a, b in itertools.pairwise(bounds)]
    forgotten = draw(st.sets(st.integers(0, len(batches) - 1), max_size=2))
    return Delivery(ages, batches, forgotten)


@settings(
    max_examples=60,
    deadline=None,
    # All examples share a pipeline, and each has a new runner.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(delivery=deliveries())
async def test_any_order_and_repetition_gives_the_same_track(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, delivery: Delivery
) -> None:
    monkeypatch.setattr(recorder_module, "GATHER_S", 0)
    row = await Runner.objects.acreate(code=f"bob{next(numbers)}", name="Bob")
    bob = Publisher(row.pk, row.code)
    client_map = Map()
    await pipeline.hub.subscribe([bob.pk], client_map)
    now = now_ms()
    track = [
        Fix(now - age, 48 + n / 1e3, 2 + age / 1e5, speed=n / 10)
        for n, age in enumerate(delivery.ages)
    ]

    for number, batch in enumerate(delivery.batches):
        if number in delivery.forgotten:
            await pipeline.recorder.flushed()
            pipeline.tracks._tracks.pop(bob.pk, None)
        await pipeline.accept(bob, [track[n] for n in batch], source="websocket")
    await pipeline.recorder.flushed()
    # The last event.
    await pipeline.hub.publish([Cheered(bob.pk, bob.code, "Done!", now)])
    await within(client_map.received_all.wait())
    pipeline.hub.unsubscribe([bob.pk], client_map)

    in_order = sorted(track, key=lambda fix: fix.t)
    places = [(fix.t, fix.lat, fix.lng, fix.speed) for fix in in_order]
    rows = [
        (milliseconds(p.recorded_at), p.lat, p.lng, p.speed)
        async for p in Position.objects.filter(runner=bob.pk).order_by("recorded_at")
    ]
    assert rows == places
    latest = await LatestPosition.objects.aget(runner=bob.pk)
    newest = (milliseconds(latest.recorded_at), latest.lat, latest.lng, latest.speed)
    assert newest == places[-1]
    item = await sync_to_async(item_of)(bob.pk)
    assert item["trail"] == polyline.encode([place[1:3] for place in places], 5)
    assert item["fix"] and item["fix"][0] == places[-1][0]
    # Spectators receive every point, and the marker never moves back.
    assert sorted(client_map.points) == [fix.t for fix in in_order]
    assert client_map.markers == sorted(set(client_map.markers))
    assert client_map.markers[-1] == in_order[-1].t


def item_of(runner: int) -> Item:
    """Return the runner's item of a snapshot."""
    items = runner_items([runner])
    add_trails(items)
    return items[runner]
