from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from runners import database
from runners.database import CoalescedReads, DatabaseUnavailable
from tests.virtual_time import Clock
from tests.waiting import PATIENCE_S, eventually

# The threads may keep a connection from a test before, and ask whether it is alive.
pytestmark = pytest.mark.django_db(transaction=True)


class Asked:
    """Answers questions with themselves and keeps what it was asked together.

    Not while it is held up.
    """

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, keys: Sequence[int]) -> dict[int, int]:
        self.calls.append(list(keys))
        assert self.may_answer.wait(PATIENCE_S)
        return {key: key for key in keys}


@pytest.fixture
def held_up() -> Asked:
    asked = Asked()
    asked.may_answer.clear()
    return asked


async def test_who_asks_while_an_answer_comes_shares_the_next_one(
    held_up: Asked,
) -> None:
    gathering = CoalescedReads(held_up, 100)
    first = asyncio.create_task(gathering.read([1]))
    await eventually(lambda: held_up.calls)
    others = [asyncio.create_task(gathering.read([1, n])) for n in range(2, 20)]
    await asyncio.sleep(0)
    held_up.may_answer.set()
    await asyncio.gather(first, *others)
    assert held_up.calls == [[1], list(range(1, 20))]
    assert others[3].result()[5] == 5


async def test_a_gathering_asks_for_no_more_than_a_call_may_have() -> None:
    asked = Asked()
    gathering = CoalescedReads(asked, 3)
    found = await asyncio.gather(*(gathering.read([n]) for n in range(8)))
    assert [len(call) for call in asked.calls] == [3, 3, 2]
    assert [mapping[n] for n, mapping in enumerate(found)] == list(range(8))


async def test_all_who_share_a_call_that_fails_hear_of_it() -> None:
    def fail(keys: Sequence[int]) -> dict[int, int]:
        raise ValueError("no")

    gathering = CoalescedReads(fail, 100)
    asks = [gathering.read([n]) for n in range(3)]
    ends = await asyncio.gather(*asks, return_exceptions=True)
    assert [type(end) for end in ends] == [ValueError] * 3
    # And the next call is a new one.
    with pytest.raises(ValueError, match="no"):
        await gathering.read([1])


async def test_an_asker_who_leaves_takes_nothing_from_the_others(
    held_up: Asked,
) -> None:
    gathering = CoalescedReads(held_up, 100)
    leaving, staying = (asyncio.create_task(gathering.read([n])) for n in (1, 2))
    await eventually(lambda: held_up.calls == [[1, 2]])
    leaving.cancel()
    held_up.may_answer.set()
    assert (await staying)[2] == 2


async def test_a_crowd_waits_for_its_turn_but_not_for_a_database_that_is_away(
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
        # The last have waited for 0.4 s by their turn.
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
