from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import OperationalError, connection

from runners import database
from runners.database import CoalescedReads, DatabaseUnavailable, RecentReads
from tests.virtual_time import Clock
from tests.waiting import PATIENCE_S, eventually

# The threads may keep a connection of an earlier test, which Django checks.
pytestmark = pytest.mark.django_db(transaction=True)


class RecordedReads:
    """Returns keys as their values, records the keys of each call; can be blocked."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.unblocked = threading.Event()
        self.unblocked.set()

    def __call__(self, keys: Sequence[int]) -> dict[int, int]:
        self.calls.append(list(keys))
        assert self.unblocked.wait(PATIENCE_S)
        return {key: key for key in keys}


@pytest.fixture
def blocked_reads() -> RecordedReads:
    reads = RecordedReads()
    reads.unblocked.clear()
    return reads


async def test_reads_that_wait_for_a_running_call_share_the_next_one(
    blocked_reads: RecordedReads,
) -> None:
    coalesced = CoalescedReads(blocked_reads, 100)
    first = asyncio.create_task(coalesced.read([1]))
    await eventually(lambda: blocked_reads.calls)
    others = [asyncio.create_task(coalesced.read([1, n])) for n in range(2, 20)]
    await asyncio.sleep(0)
    blocked_reads.unblocked.set()
    await asyncio.gather(first, *others)
    assert blocked_reads.calls == [[1], list(range(1, 20))]
    assert others[3].result()[5] == 5


async def test_a_call_reads_at_most_the_limit_of_keys() -> None:
    reads = RecordedReads()
    coalesced = CoalescedReads(reads, 3)
    found = await asyncio.gather(*(coalesced.read([n]) for n in range(8)))
    assert [len(call) for call in reads.calls] == [3, 3, 2]
    assert [mapping[n] for n, mapping in enumerate(found)] == list(range(8))


async def test_a_call_is_limited_by_the_load_of_its_keys() -> None:
    reads = RecordedReads()
    coalesced = CoalescedReads(reads, 3, load=lambda key: key)
    await asyncio.gather(*(coalesced.read([n]) for n in (1, 1, 1, 2, 7, 1)))
    assert reads.calls == [[1, 2], [7], [1]]


async def test_a_failing_call_fails_for_all_who_share_it() -> None:
    def fail(keys: Sequence[int]) -> dict[int, int]:
        raise ValueError("no")

    coalesced = CoalescedReads(fail, 100)
    reads = [coalesced.read([n]) for n in range(3)]
    ends = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(end) for end in ends] == [ValueError] * 3
    # The next read causes a new call.
    with pytest.raises(ValueError, match="no"):
        await coalesced.read([1])


async def test_a_cancelled_read_does_not_cancel_the_others(
    blocked_reads: RecordedReads,
) -> None:
    coalesced = CoalescedReads(blocked_reads, 100)
    cancelled, other = (asyncio.create_task(coalesced.read([n])) for n in (1, 2))
    await eventually(lambda: blocked_reads.calls == [[1, 2]])
    cancelled.cancel()
    blocked_reads.unblocked.set()
    assert (await other)[2] == 2


async def test_reads_wait_in_the_queue_but_not_for_an_unavailable_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(database, "time", clock)
    monkeypatch.setattr(database.Pool, "timeout", 0.3)
    started: list[None] = []
    may_end = threading.Semaphore(0)

    def hold() -> None:
        started.append(None)
        may_end.acquire()

    async def wait_for_starts(count: int) -> None:
        await eventually(lambda: len(started) == count)

    calls = [
        asyncio.create_task(database.read(hold)) for _ in range(3 * database.THREADS)
    ]
    for turn in (1, 2, 3):
        await wait_for_starts(turn * database.THREADS)
        # The last reads have waited for 0.4 s by then.
        clock.now += 0.2
        may_end.release(database.THREADS)
    await asyncio.gather(*calls)

    stuck = [
        asyncio.create_task(database.read(hold)) for _ in range(database.THREADS + 1)
    ]
    await wait_for_starts(4 * database.THREADS)
    clock.now += 0.31
    ends = await asyncio.gather(*stuck, return_exceptions=True)
    assert [type(end) for end in ends] == [DatabaseUnavailable] * (database.THREADS + 1)
    may_end.release(database.THREADS)
    await asyncio.to_thread(database.close_connections)


async def test_a_snapshot_may_take_longer_than_other_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(database, "time", clock)
    started = threading.Event()
    may_end = threading.Event()

    def hold() -> str:
        started.set()
        assert may_end.wait(PATIENCE_S)
        return "snapshot"

    reading = asyncio.create_task(database.read_snapshot(hold))
    await eventually(started.is_set)
    clock.now += 2 * database.TIMEOUT_S
    # Reads beside it have threads of their own.
    assert await database.read(lambda: 7) == 7
    may_end.set()
    assert await reading == "snapshot"
    await asyncio.to_thread(database.close_connections)


async def test_a_recent_result_is_shared_and_a_failure_is_not() -> None:
    calls: list[str] = []

    def answer() -> int:
        calls.append("answer")
        return 7

    def fail() -> int:
        calls.append("fail")
        raise OperationalError("the database is away")

    recent: RecentReads[str, int] = RecentReads(60)
    with pytest.raises(DatabaseUnavailable):
        await recent.read("a", fail)
    assert [await recent.read("a", answer) for _ in range(3)] == [7] * 3
    assert await recent.read("b", answer) == 7
    recent.clear()
    assert await recent.read("a", answer) == 7
    assert calls == ["fail", "answer", "answer", "answer"]


async def test_an_error_of_the_driver_is_one_of_the_database() -> None:
    backend: Any = connection

    def fail() -> None:
        raise backend.Database.OperationalError("the server closed the connection")

    with pytest.raises(DatabaseUnavailable):
        await database.read(fail)
    await asyncio.to_thread(database.close_connections)


async def test_calls_for_a_crowd_keep_their_distance() -> None:
    recorded = RecordedReads()
    reads = CoalescedReads(recorded, 10, every_s=3_600.0)
    await reads.read([1])
    waiting = [asyncio.create_task(reads.read([n])) for n in (2, 3)]
    for _ in range(3 * database.THREADS):
        await database.read(int)
    assert recorded.calls == [[1]]
    for task in [*waiting, reads._reader]:
        assert task is not None
        task.cancel()
