"""Backfill after snapshots and losses: no marker moves back, nothing is omitted."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta

import pytest
from django.utils import timezone

from runners import database
from runners.live.encoding.frames import Frames
from runners.live.events import LateFixes, PositionAccepted, RunnerEvent
from runners.live.hub import Hub
from runners.live.outbox import TypedOutbox
from runners.models import Position, Runner
from runners.positions import storage
from runners.positions.fix import Fix
from runners.recovery import backfill as recovery
from runners.recovery.backfill import (
    LIMIT,
    RUNNER_LIMIT,
    Backfill,
    Backfiller,
    Row,
    stored_after,
    stored_since,
)
from runners.subscriptions import runner_reads, topic_snapshots
from runners.subscriptions.topic import Topic, TopicName
from runners.units.clock import moment_of, now_ms
from tests.live.socket_writers import RecordingWriter
from tests.waiting import PATIENCE_S, eventually, within

T = 1_795_509_018_532
BOB = 7


class Follower:
    def __init__(self) -> None:
        self.received = asyncio.Event()
        self.positions: list[int] = []
        self.late: list[int] = []

    def receive(self, frames: Frames[RunnerEvent]) -> None:
        event = frames.event
        if isinstance(event, PositionAccepted):
            self.positions.append(event.t)
        elif isinstance(event, LateFixes):
            self.late.append(event.fixes[-1][0])
        self.received.set()


def missed(*times: int) -> Backfill:
    rows: list[Row] = [(t, 48.0, 2.0, None, None, 5_000.0) for t in times]
    return Backfill({BOB: "bob"}, {BOB: rows}, newest={BOB: rows[-1]})


def times_of(positions: Iterable[Frames[PositionAccepted]]) -> list[int]:
    read = [json.loads(frames.for_typed()) for frames in positions]
    # Rows have the stored progress, so the map does not lose it.
    assert all(row[6] == 5_000 for row in read)
    return [row[1] for row in read]


async def dispatch(hub: Hub, t: int) -> Follower:
    """Subscribe a follower to Bob and send them a position of this time."""
    follower = Follower()
    await hub.subscribe([BOB], follower)
    await hub.publish([PositionAccepted(BOB, "bob", t, 48.0, 2.0, None, None, None)])
    await within(follower.received.wait())
    return follower


async def test_a_backfill_moves_no_marker_back(hub: Hub) -> None:
    await dispatch(hub, T + 1)
    assert times_of(missed(T - 1, T).newest_positions(hub)) == []


async def test_a_backfill_includes_positions_that_joining_sockets_did_not_receive(
    hub: Hub,
) -> None:
    # The fix was dispatched, but perhaps before the waiting socket joined.
    await dispatch(hub, T)
    assert times_of(missed(T - 1, T).newest_positions(hub)) == [T]


async def stored(*times: int, age: timedelta = timedelta(0)) -> None:
    """Store fixes of Bob as if `age` ago."""
    rows = [storage.Row(BOB, Fix(t, 48.0, 2.0), "websocket") for t in times]
    await database.read(storage.write_rows, rows)
    moments = [moment_of(t) for t in times]
    fixes = Position.objects.filter(recorded_at__in=moments)
    await fixes.aupdate(stored_at=timezone.now() - age)


@pytest.fixture
async def bob(transactional_db: None) -> AsyncIterator[Runner]:
    """Bob, who runs."""
    yield await Runner.objects.acreate(pk=BOB, code="bob", name="Bob")
    database.close_connections()


async def test_a_backfill_does_not_move_the_marker_back_from_an_unstored_position(
    hub: Hub, bob: Runner
) -> None:
    now = now_ms()
    follower = await dispatch(hub, now)
    await stored(now - 1_000)
    backfiller = Backfiller(hub)
    backfiller.schedule(now)
    await backfiller.flush(PATIENCE_S)
    assert follower.late == [now - 1_000]
    assert follower.positions == [now]


async def test_a_backfill_does_not_move_the_marker_back_from_an_older_process(
    hub: Hub, bob: Runner
) -> None:
    now = now_ms()
    follower = Follower()
    await hub.subscribe([BOB], follower)
    # The fix was dispatched by a previous process.
    await stored(now - 60_000, age=timedelta(minutes=1))
    await stored(now - 61_000)
    backfiller = Backfiller(hub)
    backfiller.schedule(now)
    await backfiller.flush(PATIENCE_S)
    assert follower.late == [now - 61_000]
    assert follower.positions == []


async def test_a_backfill_moves_the_marker_to_the_newest_position(
    hub: Hub, bob: Runner
) -> None:
    now = now_ms()
    follower = await dispatch(hub, now - 2_000)
    await stored(now - 3_000, now - 1_000)
    backfiller = Backfiller(hub)
    backfiller.schedule(now)
    await backfiller.flush(PATIENCE_S)
    assert follower.positions == [now - 2_000, now - 1_000]


async def test_held_positions_are_not_backfilled(hub: Hub, bob: Runner) -> None:
    now = now_ms()
    follower = Follower()
    await hub.subscribe([BOB], follower)
    await stored(now - 2_000)
    held = storage.Row(BOB, Fix(now - 1_000, 10.0, 2.0), "websocket", held=True)
    await database.read(storage.write_rows, [held])
    backfill = await database.read(stored_since, [BOB], now)
    assert [t for t, *_ in backfill.rows[BOB]] == [now - 2_000]
    backfiller = Backfiller(hub)
    backfiller.schedule(now)
    await backfiller.flush(PATIENCE_S)
    assert follower.positions == [now - 2_000]


async def test_a_backfill_does_not_move_the_marker_back_from_the_snapshot(
    hub: Hub, bob: Runner
) -> None:
    now = now_ms()
    await stored(now - 60_000, age=timedelta(minutes=1))
    await stored(now - 61_000)
    backfill = await database.read(stored_after, [BOB], now)
    assert list(backfill.late) == [BOB]
    assert list(backfill.newest_positions(hub)) == []


@pytest.mark.django_db(transaction=True)
async def test_a_backfill_after_a_snapshot_is_complete() -> None:
    bob = await Runner.objects.acreate(code="bob", name="Bob")
    now = now_ms()
    fixes = [Fix(now - n, 48.0, 2.0) for n in range(1_500)]
    rows = [storage.Row(bob.pk, fix, "websocket") for fix in fixes]
    assert len(rows) > RUNNER_LIMIT
    await database.read(storage.write_rows, rows)
    since = await database.read(stored_since, [bob.pk], now)
    assert list(since.truncated.values()) == ["bob"]
    later = await database.read(stored_after, [bob.pk], now)
    assert not later.truncated
    assert len(later.rows[bob.pk]) == 1_500
    database.close_connections()


def store_of_each(count: int, each: int) -> set[int]:
    """Store fixes of several runners; return their primary keys."""
    runners = [Runner(code=f"r{number}", name="R") for number in range(count)]
    keys = {runner.pk for runner in Runner.objects.bulk_create(runners)}
    now = now_ms()
    fixes = [Fix(now - n, 48.0, 2.0) for n in range(each)]
    storage.write_rows(
        [storage.Row(pk, fix, "websocket") for pk in keys for fix in fixes]
    )
    return keys


def assert_bounded(missed: Backfill, runners: set[int], each: int, left: int) -> None:
    """Assert that `left` runners are truncated and named, and the others complete."""
    assert len(missed.truncated) == left
    assert missed.rows.keys() == missed.late.keys() == runners - set(missed.truncated)
    assert {len(rows) for rows in missed.rows.values()} == {each}


@pytest.mark.django_db
def test_since_is_limited_for_all_runners_together() -> None:
    each = RUNNER_LIMIT - 100
    runners = store_of_each(LIMIT // each + 2, each)
    assert_bounded(stored_since(runners, now_ms()), runners, each, left=2)


@pytest.mark.django_db(transaction=True)
async def test_since_of_single_runners_is_limited_for_all_of_them_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner_reads, "LIMIT", 25)
    runners = await database.read(store_of_each, 4, 10)
    begins = dict.fromkeys(runners, 0)
    missed = await runner_reads.RunnerReads().backfill(begins, now_ms())
    assert_bounded(missed, runners, 10, left=2)
    database.close_connections()


@pytest.mark.django_db(transaction=True)
async def test_a_client_that_was_cut_off_during_a_loss_receives_all_from_its_beginning(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "COMMIT_DELAY_S", 0.05)
    backfiller = Backfiller(hub)
    begins = now_ms() - 60_000
    complete = backfiller.complete_before(begins + 10_000)
    backfiller.schedule(begins)
    (loss,) = backfiller.losses
    during = backfiller.complete_before(begins + 10_000)
    await eventually(lambda: loss.until < math.inf)
    assert complete == begins + 10_000
    # Times during the lost period, and after it.
    assert during == backfiller.complete_before(begins + 10_000) == begins
    # Clients that disconnected before the period, or came back well after it, are not
    # affected.
    assert backfiller.complete_before(begins - 1) == begins - 1
    later = int(loss.until) + 60_000
    monkeypatch.setattr(hub.loss_detector, "_complete_until", later)
    assert backfiller.complete_before(later) == later


@pytest.mark.django_db(transaction=True)
async def test_losses_during_a_backfill_are_one_span(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first backfill waits for commits until it is flushed.
    monkeypatch.setattr(recovery, "COMMIT_DELAY_S", 3600)
    backfiller = Backfiller(hub)
    begins = now_ms() - 60_000
    backfiller.schedule(begins)
    await asyncio.sleep(0)
    for seconds in (30, 20, 25):
        backfiller.schedule(begins + seconds * 1000)
    first, rest = backfiller.losses
    assert (first.since, rest.since) == (begins, begins + 20_000)
    await backfiller.flush(PATIENCE_S)
    assert first.until <= rest.until < math.inf
    # A later loss is a new period.
    backfiller.schedule(begins + 50_000)
    assert len(backfiller.losses) == 3
    await eventually(lambda: backfiller.losses[-1].until < math.inf)


@pytest.mark.django_db(transaction=True)
async def test_a_draining_process_first_backfills_its_sockets(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The backfill does not wait for commits.
    monkeypatch.setattr(recovery, "COMMIT_DELAY_S", 3600)
    bob = await Runner.objects.acreate(pk=BOB, code="bob", name="Bob")
    follower = Follower()
    await hub.subscribe([bob.pk], follower)
    since = now_ms()
    await database.read(
        storage.write_rows, [storage.Row(bob.pk, Fix(since, 48.0, 2.0), "websocket")]
    )
    backfiller = Backfiller(hub)
    # The loss is known, but the layer is still unavailable.
    hub.loss_detector.report_loss(since)
    assert hub.loss_detector.complete_until <= since
    await backfiller.flush(PATIENCE_S)
    assert follower.received.is_set()
    database.close_connections()


@pytest.mark.django_db(transaction=True)
async def test_positions_are_read_again_after_the_last_socket_shares_a_snapshot(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sockets share a snapshot as long as it is being read.
    monkeypatch.setattr(topic_snapshots, "SNAPSHOT_MAX_AGE_S", 0)
    monkeypatch.setattr(recovery, "COMMIT_DELAY_S", 0)
    reads: list[str] = []
    read_again = asyncio.Event()

    def read_slowly(race: object, blockers: object) -> list[bytes]:
        time.sleep(0.1)
        reads.append("snapshot")
        return []

    async def read_stored_after(runners: object, read_at: object) -> Backfill:
        reads.append("again")
        read_again.set()
        return Backfill()

    topic = Topic(TopicName(), hub, {})
    await topic._loaded
    monkeypatch.setattr(topic_snapshots, "_encode", read_slowly)
    monkeypatch.setattr(topic.snapshots, "_read_stored_after", read_stored_after)
    outbox = TypedOutbox(RecordingWriter(), hub)
    await asyncio.gather(topic.snapshots.read(outbox), read_again.wait())
    assert reads == ["snapshot", "again"]
    topic.close()
    database.close_connections()
