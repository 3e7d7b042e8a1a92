from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection

from runners.models import (
    Checkpoint,
    Entry,
    LatestPosition,
    Position,
    Race,
    Runner,
    Split,
)
from runners.positions import recorder as recorder_module
from runners.positions.fix import Fix
from runners.positions.recorder import Recorder, RecorderFull
from runners.positions.storage import Row, SplitChange, StateChange, write_rows
from runners.positions.track import Publisher
from runners.units.clock import moment_of
from tests.waiting import PATIENCE_S, eventually, within

T = 1_795_509_018_532


@pytest.fixture
async def recorder(transactional_db: None) -> AsyncIterator[Recorder]:
    recorder = Recorder()
    yield recorder
    await asyncio.to_thread(recorder.stop)


def test_rows_are_written_as_they_were_measured(bob: Publisher) -> None:
    fix = Fix(T, 48.85, 2.35, 5.0, 35.5, 3.2, 270.0, 81.0)
    assert not write_rows([Row(bob.pk, fix, "websocket")])
    (row,) = Position.objects.all()
    assert row.recorded_at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        milliseconds=T
    )
    assert (row.lat, row.lng, row.accuracy, row.altitude) == (48.85, 2.35, 5.0, 35.5)
    assert (row.speed, row.heading, row.battery) == (3.2, 270.0, 81.0)
    assert row.source == "websocket"
    latest = LatestPosition.objects.get(runner=bob.pk)
    assert (latest.recorded_at, latest.lat) == (row.recorded_at, row.lat)


@pytest.mark.django_db(transaction=True)
def test_a_corrected_state_is_not_written_with_the_locks_of_a_batch(
    bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = []
    monkeypatch.setattr(
        StateChange, "write", lambda _: locked.append(connection.in_atomic_block)
    )
    row = Row(bob.pk, Fix(T, 48.0, 2.0), "websocket")
    write_rows([row], [StateChange(bob.pk + 1, T, "{}")])
    assert locked == [False]


def test_optional_values_are_stored_with_their_own_fix_only(bob: Publisher) -> None:
    fixes = [Fix(T, 48, 2), Fix(T + 1, 48, 2, speed=3.0), Fix(T + 2, 48, 2)]
    write_rows([Row(bob.pk, fix, "websocket") for fix in fixes[:2]])
    speeds = Position.objects.order_by("recorded_at").values_list("speed", flat=True)
    assert list(speeds) == [None, 3.0]
    assert LatestPosition.objects.get().speed == 3.0

    write_rows([Row(bob.pk, fixes[2], "websocket")])
    assert list(speeds.all()) == [None, 3.0, None]
    assert LatestPosition.objects.get().speed is None


def test_a_second_position_of_the_same_time_changes_nothing(bob: Publisher) -> None:
    write_rows([Row(bob.pk, Fix(T, 48.85, 2.35), "websocket")])
    write_rows([Row(bob.pk, Fix(T, 10.0, 10.0), "websocket")])
    assert Position.objects.get().lat == 48.85
    assert LatestPosition.objects.get().lat == 48.85


def test_the_latest_position_never_moves_back_in_time(bob: Publisher) -> None:
    write_rows([Row(bob.pk, Fix(T, 48.85, 2.35), "websocket")])
    before = LatestPosition.objects.get()
    write_rows([Row(bob.pk, Fix(T - 5000, 10.0, 10.0), "overland")])
    after = LatestPosition.objects.get()
    assert (after.lat, after.source) == (48.85, "websocket")
    assert after.contact_at > before.contact_at
    assert Position.objects.count() == 2


def test_a_deleted_runner_does_not_lose_fixes_of_others(bob: Publisher) -> None:
    gone = Runner.objects.create(code="gone", name="Gone")
    lost_pk = gone.pk
    gone.delete()
    rows = [
        Row(pk, Fix(T + n, 48.0, 2.0), "websocket")
        for n in range(20)
        for pk in (bob.pk, lost_pk)
    ]
    lost = write_rows(rows)
    assert len(lost) == 20
    assert Position.objects.filter(runner=bob.pk).count() == 20


@pytest.fixture
def split_of_bob(bob: Publisher) -> SplitChange:
    """A split of Bob that a fix causes in his race."""
    start = moment_of(T)
    ends = start + timedelta(hours=1)
    race = Race.objects.create(slug="half", name="Half", start=start, ends=ends)
    entry = Entry.objects.create(race=race, runner_id=bob.pk, bib="1")
    ten = Checkpoint.objects.create(race=race, name="10 km", distance=10_000)
    return SplitChange(entry.pk, ten.pk, 1, T, 1.0)


@pytest.mark.parametrize("deleted", ["a runner", "an entry"])
def test_a_deleted_runner_or_entry_does_not_lose_splits_of_others(
    bob: Publisher, split_of_bob: SplitChange, deleted: str
) -> None:
    rows = [Row(bob.pk, Fix(T, 48.0, 2.0), "websocket")]
    changes = [split_of_bob]
    if deleted == "a runner":
        rows.insert(0, Row(bob.pk + 1, Fix(T, 48.0, 2.0), "websocket"))
    else:
        changes.insert(0, split_of_bob._replace(entry=split_of_bob.entry + 1))
    lost = write_rows(rows, changes)
    assert list(lost) == [row for row in rows if row.runner != bob.pk]
    assert Position.objects.get().runner_id == bob.pk
    assert Split.objects.get().entry_id == split_of_bob.entry


async def test_an_ack_waits_for_the_commit(
    recorder: Recorder, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    begun, may_commit = asyncio.Event(), threading.Event()

    def blocked_write(*work: Any) -> object:
        loop.call_soon_threadsafe(begun.set)
        assert may_commit.wait(PATIENCE_S)
        return write_rows(*work)

    monkeypatch.setattr(recorder_module, "write_rows", blocked_write)
    stored = recorder.record([Row(bob.pk, Fix(T, 48.85, 2.35), "websocket")])
    # Callbacks run in order, so an ack sent before the write would have arrived.
    await within(begun.wait())
    assert not stored.done()
    assert recorder.waiting == 1
    may_commit.set()
    assert await within(stored) == 0
    assert await Position.objects.acount() == 1
    assert recorder.waiting == 0
    assert recorder.stored == 1


async def test_each_sender_receives_the_number_of_their_own_refused_rows(
    recorder: Recorder, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    is_writing, may_write = threading.Event(), threading.Event()

    def slow(rows: list[Row], changes: Any) -> object:
        batches.append(len(rows))
        is_writing.set()
        may_write.wait(PATIENCE_S)
        return write_rows(rows, changes)

    monkeypatch.setattr(recorder_module, "write_rows", slow)
    fixes = [Fix(T + n, 48.0, 2.0) for n in range(3)]
    first = recorder.record([Row(bob.pk, fixes[0], "websocket")])
    await eventually(is_writing.is_set)
    # Both wait for the first write, and form one batch.
    bobs = recorder.record([Row(bob.pk, fixes[1], "websocket")])
    gone = recorder.record([Row(bob.pk + 1, fix, "websocket") for fix in fixes])
    may_write.set()
    acks = asyncio.gather(first, bobs, gone)
    assert [*await within(acks)] == [0, 0, 3]
    assert batches == [1, 4]


async def test_the_age_of_the_oldest_row_is_known_until_its_commit(
    recorder: Recorder, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_writing, may_write = threading.Event(), threading.Event()

    def slow(*work: Any) -> object:
        is_writing.set()
        may_write.wait(PATIENCE_S)
        return write_rows(*work)

    monkeypatch.setattr(recorder_module, "write_rows", slow)
    assert recorder.oldest == 0
    stored = recorder.record([Row(bob.pk, Fix(T, 48.0, 2.0), "websocket")])
    await eventually(is_writing.is_set)
    assert recorder.oldest > 0
    may_write.set()
    await within(stored)
    assert recorder.oldest == 0


async def test_fixes_without_an_ack_are_committed_with_the_next_that_has_one(
    recorder: Recorder, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "GATHER_UNACKED_S", PATIENCE_S)
    for n in range(3):
        recorder.record_unacked([Row(bob.pk, Fix(T + n, 48.0, 2.0), "websocket")])
    stored = recorder.record([Row(bob.pk, Fix(T + 3, 48.0, 2.0), "websocket")])
    await within(stored)
    assert await Position.objects.acount() == 4
    moments = Position.objects.values_list("stored_at", flat=True)
    assert len({moment async for moment in moments}) == 1


async def test_fixes_that_could_not_be_stored_are_not_acked(
    recorder: Recorder, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*work: Any) -> object:
        raise RuntimeError("not the database's fault")

    rows = [Row(bob.pk, Fix(T, 48.85, 2.35), "websocket")]
    monkeypatch.setattr(recorder_module, "write_rows", failing)
    failed = recorder.record(rows)
    await within(recorder.flushed())
    assert not failed.done()
    assert (recorder.stored, recorder.not_stored) == (0, {"failed": 1})
    # The phone sends them again.
    monkeypatch.setattr(recorder_module, "write_rows", write_rows)
    assert await within(recorder.record(rows)) == 0
    assert await Position.objects.acount() == 1
    assert not failed.done()


async def test_fixes_that_wait_for_the_database_at_a_stop_are_not_acked(
    recorder: Recorder, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*work: Any) -> object:
        raise OperationalError("the database is away")

    monkeypatch.setattr(recorder_module, "RETRY_S", 0.02)
    monkeypatch.setattr(recorder_module, "write_rows", unavailable)
    stored = recorder.record([Row(bob.pk, Fix(T, 48.85, 2.35), "websocket")])
    await asyncio.to_thread(recorder.stop)
    assert not stored.done()
    assert recorder.not_stored == {"stopped": 1}


async def test_stop_stores_the_queue(recorder: Recorder, bob: Publisher) -> None:
    for n in range(500):
        recorder.record_unacked([Row(bob.pk, Fix(T + n, 48.85, 2.35), "websocket")])
    await asyncio.to_thread(recorder.stop)
    assert await Position.objects.acount() == 500


async def test_a_recorder_starts_again_after_a_stop(
    recorder: Recorder, bob: Publisher
) -> None:
    for n in range(2):
        stored = recorder.record([Row(bob.pk, Fix(T + n, 48.85, 2.35), "websocket")])
        await within(stored)
        await asyncio.to_thread(recorder.stop)
    assert await Position.objects.acount() == 2


async def test_a_full_recorder_refuses_and_counts(
    recorder: Recorder, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "CAPACITY", 2)
    row = Row(bob.pk, Fix(T, 48.85, 2.35), "websocket")
    with pytest.raises(RecorderFull):
        recorder.record([row] * 3)
    recorder.record_unacked([row] * 3)
    assert recorder.not_stored["full"] == 3
    assert recorder.waiting == 0


async def test_the_recorder_retries_while_the_database_fails(
    recorder: Recorder, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.02)
    failures = iter([True] * 3)

    def failing(*work: object) -> object:
        if next(failures, False):
            raise OperationalError("the database is away")
        return write_rows(*work)  # type: ignore[arg-type]

    monkeypatch.setattr(recorder_module, "write_rows", failing)
    stored = recorder.record([Row(bob.pk, Fix(T, 48.85, 2.35), "websocket")])
    assert await within(stored) == 0
    assert await Position.objects.acount() == 1


async def test_late_commits_are_reported_once_after_the_last(
    recorder: Recorder, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[int] = []
    failed_at: list[int] = []
    recorder.on_late_commit = reported.append
    monkeypatch.setattr(recorder_module, "LATE_S", 3600)
    await recorder.record([Row(bob.pk, Fix(T, 48.0, 2.0), "websocket")])
    assert reported == []

    # Every commit is late from here on.
    monkeypatch.setattr(recorder_module, "LATE_S", 1e-9)
    monkeypatch.setattr(recorder_module, "BATCH", 1)
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.02)

    def failing_at_first(rows: list[Row], changes: object) -> object:
        assert reported == []
        if len(failed_at) < 3:
            failed_at.append(time.time_ns() // 1_000_000)
            raise OperationalError("the database is away")
        return write_rows(rows)

    monkeypatch.setattr(recorder_module, "write_rows", failing_at_first)
    await asyncio.gather(
        *(
            recorder.record([Row(bob.pk, Fix(T + n, 48.0, 2.0), "websocket")])
            for n in range(1, 4)
        )
    )
    await within(recorder.flushed())
    (since,) = reported
    # The report starts at the first commit that succeeded: nothing was stored earlier.
    first = await Position.objects.order_by("stored_at").aget(
        recorded_at=moment_of(T + 1)
    )
    assert failed_at[-1] < since <= first.stored_at.timestamp() * 1000
