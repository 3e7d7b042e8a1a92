from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from runners.live.events import (
    EventsLost,
    LayerEvent,
    PositionAccepted,
    Probe,
    RunnerEvent,
)
from runners.models import Entry, LatestPosition, Position, Race, Runner
from runners.positions import recorder as recorder_module
from runners.positions import tracks
from runners.positions.fix import Fix
from runners.positions.pipeline import Pipeline, Receipt, Soon
from runners.positions.storage import Change, Row
from runners.positions.track import Publisher, Track
from runners.positions.validation import FixError
from runners.units.clock import milliseconds, now_ms
from tests.factories.races import make_bare_race
from tests.positions.followers import Follower
from tests.waiting import eventually, within


async def publish(
    pipeline: Pipeline, bob: Publisher, *fixes: Fix | FixError
) -> Receipt:
    receipt = await pipeline.accept(bob, fixes, source="websocket")
    assert receipt.stored is not None
    await within(receipt.stored)
    return receipt


async def test_a_fix_is_published_and_stored(
    pipeline: Pipeline, bob: Publisher, follower: Follower
) -> None:
    t = now_ms()
    receipt = await publish(pipeline, bob, Fix(t, 48.85, 2.35, speed=3.0))
    assert receipt.rejected == []
    assert follower.rows == [["bob", t, 48.85, 2.35, 3.0, None, None]]
    assert follower.seed == [{"userId": "bob", "lat": 48.85, "lng": 2.35}]
    assert await Position.objects.acount() == 1


async def test_the_newest_of_a_batch_moves_the_marker_and_the_others_are_late(
    pipeline: Pipeline, bob: Publisher, follower: Follower
) -> None:
    t = now_ms() - 10_000
    fixes = [Fix(t + n * 1000, 48.0 + n, 2.0) for n in (3, 0, 2, 1)]
    await publish(pipeline, bob, *fixes)
    assert [row[1] for row in follower.rows] == [t + 3000]
    assert [fix[0] for fix in follower.late] == [t, t + 1000, t + 2000]
    # The seed dialect has no late fixes. It sends all fixes newer than before, in
    # order.
    assert [m["lat"] for m in follower.seed] == [48, 49, 50, 51]


async def test_fixes_of_several_sockets_are_accepted_together_in_order(
    pipeline: Pipeline,
    bob: Publisher,
    follower: Follower,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    advance = Track.advance

    def failing(track: Track, fixes: Sequence[Fix]) -> Any:
        if any(fix.lat == 13 for fix in fixes):
            raise RuntimeError("an error in our code")
        return advance(track, fixes)

    monkeypatch.setattr(Track, "advance", failing)
    t = now_ms() - 10_000
    # The runner's rules have to be read first.
    assert pipeline.tracks.loaded(bob.pk, t) is None
    await pipeline.accept_live(bob, [(Fix(t, 48.0, 2.0), False)], 7)
    track = pipeline.tracks.loaded(bob.pk, t)
    assert track is not None
    counts: list[int] = []
    refused: list[Exception] = []
    for places in ([(49.0, 2.0), (0.0, 0.0)], [(13.0, 2.0)], [(50.0, 2.0)]):
        fixes = [(Fix(t, lat, lng), False) for lat, lng in places]
        pipeline.accept_soon(Soon(bob, track, fixes, 7, counts.append, refused.append))
    assert len(follower.seed) == 1
    # One that does not wait for the next pass comes after those that do.
    await pipeline.accept_live(bob, [(Fix(t, 51.0, 2.0), False)], 7)
    assert [m["lat"] for m in follower.seed] == [48, 49, 50, 51]
    assert [m["userId"] for m in follower.seed] == [7] * 4
    assert counts == [1, 0, 1]
    assert [type(error) for error in refused] == [FixError, RuntimeError]
    await within(pipeline.recorder.flushed())
    stored = Position.objects.order_by("recorded_at").values_list("recorded_at", "lat")
    assert [(milliseconds(at) - t, lat) async for at, lat in stored] == [
        (n, lat) for n, lat in ((0, 48), (1, 49), (2, 50), (3, 51))
    ]


async def test_an_error_after_the_acceptance_loses_no_fix(
    pipeline: Pipeline,
    bob: Publisher,
    follower: Follower,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deliver = pipeline.hub.deliver_local

    def failing_delivery(event: RunnerEvent) -> None:
        if isinstance(event, PositionAccepted) and event.lat == 49:
            raise RuntimeError("an error in our code")
        deliver(event)

    def failing_refusal(error: Exception) -> None:
        raise RuntimeError("an error of a socket")

    t = now_ms() - 10_000
    await pipeline.accept_live(bob, [(Fix(t, 48.0, 2.0), False)], 7)
    track = pipeline.tracks.loaded(bob.pk, t)
    assert track is not None
    monkeypatch.setattr(pipeline.hub, "deliver_local", failing_delivery)
    counts: list[int] = []
    refused: list[Exception] = []
    for places, refuse in (
        ([49.0], refused.append),
        ([0.0, 50.0], failing_refusal),
        ([51.0], refused.append),
    ):
        fixes = [(Fix(t, lat, 2.0 if lat else 0.0), False) for lat in places]
        pipeline.accept_soon(Soon(bob, track, fixes, 7, counts.append, refuse))
    pipeline.accept_waiting()
    assert (counts, refused) == ([1, 1, 1], [])
    assert [m["lat"] for m in follower.seed] == [48, 50, 51]
    await within(pipeline.recorder.flushed())
    stored = Position.objects.order_by("recorded_at").values_list("lat", flat=True)
    assert [lat async for lat in stored] == [48, 49, 50, 51]


@pytest.fixture
def window(bob: Publisher) -> int:
    """Show Bob in a race only; return when its window began, a minute ago, in ms."""
    began = timezone.now() - timedelta(minutes=1)
    Runner.objects.update(visibility=Runner.Visibility.RACE)
    race = make_bare_race("half", began + timedelta(hours=1))
    Entry.objects.create(race=race, runner_id=bob.pk, bib="1")
    return milliseconds(began)


async def test_a_backlog_from_before_the_window_is_stored_and_not_published(
    pipeline: Pipeline, bob: Publisher, follower: Follower, window: int
) -> None:
    await publish(pipeline, bob, Fix(window - 9_000, 44.0, 2.0))
    assert follower.events == []
    times = (window - 5_000, window + 1_000, window + 2_000)
    await publish(pipeline, bob, *(Fix(t, 48.0, 2.0) for t in times))
    await publish(pipeline, bob, Fix(window - 3_000, 45.0, 2.0))
    assert [row[1] for row in follower.rows] == [window + 2_000]
    assert [fix[0] for fix in follower.late] == [window + 1_000]
    assert [m["lat"] for m in follower.seed] == [48, 48]
    assert await Position.objects.acount() == 5


async def test_the_earlier_of_two_open_windows_counts(
    pipeline: Pipeline, bob: Publisher, follower: Follower, window: int
) -> None:
    half = await Race.objects.aget()
    later = await Race.objects.acreate(
        slug="later",
        name="Later",
        start=half.start + timedelta(seconds=30),
        ends=half.ends,
    )
    await Entry.objects.acreate(race=later, runner_id=bob.pk, bib="1")
    await publish(pipeline, bob, Fix(window + 1_000, 48.0, 2.0))
    assert [row[1] for row in follower.rows] == [window + 1_000]


async def test_a_late_fix_never_moves_the_marker_back(
    pipeline: Pipeline, bob: Publisher, follower: Follower
) -> None:
    t = now_ms()
    await publish(pipeline, bob, Fix(t, 48.0, 2.0))
    await publish(pipeline, bob, Fix(t - 5000, 47.0, 2.0))
    assert [row[1] for row in follower.rows] == [t]
    assert [m["lat"] for m in follower.seed] == [48]
    assert follower.late == [[t - 5000, 47.0, 2.0]]
    assert await Position.objects.acount() == 2
    assert (await LatestPosition.objects.aget()).lat == 48.0


async def test_the_newest_stored_position_counts_after_a_restart(
    pipeline: Pipeline, bob: Publisher, follower: Follower
) -> None:
    t = now_ms()
    await publish(pipeline, bob, Fix(t, 48.0, 2.0))
    pipeline.tracks._tracks.clear()
    await publish(pipeline, bob, Fix(t - 1000, 47.0, 2.0))
    assert [row[1] for row in follower.rows] == [t]


async def test_a_fix_accepted_by_a_different_process_counts_here_too(
    pipeline: Pipeline,
    bob: Publisher,
    follower: Follower,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline.hub.layer, "is_local", False)
    t = now_ms()
    await publish(pipeline, bob, Fix(t - 60_000, 46.0, 2.0))
    remote_event = PositionAccepted(bob.pk, "bob", t, 48.0, 2.0, None, None, None)
    await pipeline.hub.publish([remote_event])
    await eventually(lambda: pipeline.tracks._tracks[bob.pk].latest == t)
    await publish(pipeline, bob, Fix(t - 1000, 47.0, 2.0))
    assert [row[1] for row in follower.rows] == [t - 60_000, t]
    assert [fix[0] for fix in follower.late] == [t - 1000]


async def test_one_bad_fix_does_not_fail_its_batch(
    pipeline: Pipeline, bob: Publisher, follower: Follower
) -> None:
    t = now_ms()
    receipt = await publish(
        pipeline,
        bob,
        Fix(t, 48.0, 2.0),
        FixError("position.invalid", "lat"),
        Fix(t + 3_600_000, 48.0, 2.0),
        Fix(t - 1000, 0, 0),
    )
    assert [(index, code) for index, code, _ in receipt.rejected] == [
        (1, "position.invalid"),
        (2, "position.future"),
        (3, "position.invalid"),
    ]
    assert receipt.accepted == 1
    assert pipeline.refused == {"position.invalid": 2, "position.future": 1}
    assert await Position.objects.acount() == 1


async def test_a_repeated_time_in_a_batch_moves_the_marker_once(
    pipeline: Pipeline, bob: Publisher, follower: Follower
) -> None:
    t = now_ms()
    receipt = await publish(pipeline, bob, Fix(t, 47.0, 2.0), Fix(t, 48.0, 2.0))
    assert receipt.accepted == 2
    assert [row[1:3] for row in follower.rows] == [[t, 48.0]]
    assert follower.late == []


async def test_a_repeated_batch_is_stored_once(
    pipeline: Pipeline, bob: Publisher, follower: Follower
) -> None:
    t = now_ms()
    fixes = [Fix(t - n * 1000, 48.0, 2.0) for n in range(5)]
    for _ in range(3):
        receipt = await publish(pipeline, bob, *fixes)
        assert receipt.accepted == 5
    assert await Position.objects.acount() == 5
    assert len(follower.rows) == 1


async def test_positions_without_a_time_in_one_millisecond_are_all_stored(
    pipeline: Pipeline, bob: Publisher, follower: Follower
) -> None:
    t = now_ms()
    for n in range(0, 20, 5):
        fixes = [(Fix(t, 48.0, m + 1.0), False) for m in range(n, n + 5)]
        assert await pipeline.accept_live(bob, fixes, 7) == []
    await eventually(lambda: len(follower.seed) == 20)
    assert [m["lng"] for m in follower.seed] == [n + 1.0 for n in range(20)]
    assert [m["userId"] for m in follower.seed] == [7] * 20
    await asyncio.to_thread(pipeline.recorder.stop)
    assert await Position.objects.acount() == 20


async def test_a_refused_position_is_not_published(
    pipeline: Pipeline, bob: Publisher, follower: Follower
) -> None:
    (error,) = await pipeline.accept_live(bob, [(Fix(now_ms(), 0, 0), False)], "bob")
    assert error.code == "position.invalid"
    assert follower.events == []
    assert pipeline.refused["position.invalid"] == 1


async def test_the_track_of_a_silent_runner_is_dropped(
    pipeline: Pipeline, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.hub.layer, "is_local", False)
    await publish(pipeline, bob, Fix(now_ms(), 48.0, 2.0))
    assert pipeline.hub.groups == 1
    monkeypatch.undo()
    for track in pipeline.tracks._tracks.values():
        track.used_at -= tracks.IDLE_S + 1
    # Not while a fix waits for the next pass of the loop.
    assert pipeline.tracks.loaded(bob.pk, now_ms()) is not None
    pipeline.tracks.sweep()
    assert pipeline.tracks.runners == [bob.pk]
    for track in pipeline.tracks._tracks.values():
        track.used_at -= tracks.IDLE_S + 1
    pipeline.tracks.sweep()
    await eventually(lambda: pipeline.hub.groups == 0)


async def test_fixes_are_stored_while_the_layer_is_away_with_one_warning(
    pipeline: Pipeline,
    bob: Publisher,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def unavailable(events: object) -> None:
        raise ConnectionError("the layer is away")

    monkeypatch.setattr(pipeline.hub.layer, "group_send_many", unavailable)
    start = now_ms()
    for n in range(3):
        await publish(pipeline, bob, Fix(start + n, 48.0, 2.0))
    assert pipeline.unsent == 3
    assert caplog.text.count("does not accept positions") == 1
    assert await Position.objects.acount() == 3
    assert await Runner.objects.acount() == 1


async def test_a_loss_is_reported_from_its_beginning_even_if_the_first_report_is_lost(
    pipeline: Pipeline, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[int] = []
    # Publications: the fix alone, then the fix and the report of the loss, then both
    # again.
    answers = iter([False, True, False, True, True])
    send = pipeline.hub.layer.group_send_many

    async def sending(events: list[tuple[str, LayerEvent]]) -> None:
        if isinstance(events[0][1], Probe):
            return await send(events)
        if not next(answers):
            raise ConnectionError("the layer is away")
        losses.extend(event.t for _, event in events if isinstance(event, EventsLost))

    monkeypatch.setattr(pipeline.hub.layer, "group_send_many", sending)
    # A slow commit would cause one more loss.
    monkeypatch.setattr(recorder_module, "LATE_S", 3600)
    before = now_ms()
    await publish(pipeline, bob, Fix(before - 3_000, 48.0, 2.0))
    after = now_ms()
    await eventually(lambda: now_ms() > after)
    for n in (2_000, 1_000):
        await publish(pipeline, bob, Fix(before - n, 48.0, 2.0))
    assert len(losses) == 1
    assert before <= losses[0] <= after


async def test_a_commit_is_late_from_the_time_before_its_events_are_sent(
    pipeline: Pipeline, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who starts to follow after the events are sent has to get the fix by the commit.
    sent_at: list[float] = []
    accepted_at: list[float] = []
    record = pipeline.recorder.record

    async def publish_slowly(events: Sequence[RunnerEvent]) -> None:
        sent_at.append(time.monotonic())

    def recording(
        rows: Sequence[Row], changes: Sequence[Change], at: float
    ) -> asyncio.Future[int]:
        accepted_at.append(at)
        return record(rows, changes, at)

    monkeypatch.setattr(pipeline.hub, "publish", publish_slowly)
    monkeypatch.setattr(pipeline.recorder, "record", recording)
    await publish(pipeline, bob, Fix(now_ms(), 48.0, 2.0))
    assert accepted_at[0] <= sent_at[0]
