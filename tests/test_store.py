from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from runners import store
from runners.store import CoalescedReads, StoreUnavailable

# The threads may keep a connection from a test before, and ask whether it is alive.
pytestmark = pytest.mark.django_db(transaction=True)


class Asked:
    """Answers questions with themselves and keeps what it was asked together."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, keys: Sequence[int]) -> dict[int, int]:
        self.calls.append(list(keys))
        time.sleep(0.05)
        return {key: key for key in keys}


async def test_who_asks_while_an_answer_comes_shares_the_next_one() -> None:
    asked = Asked()
    gathering = CoalescedReads(asked, 100)
    first = asyncio.create_task(gathering.read([1]))
    await asyncio.sleep(0.02)
    others = [asyncio.create_task(gathering.read([1, n])) for n in range(2, 20)]
    await asyncio.gather(first, *others)
    assert asked.calls == [[1], list(range(1, 20))]
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


async def test_an_asker_who_leaves_takes_nothing_from_the_others() -> None:
    gathering = CoalescedReads(Asked(), 100)
    leaving, staying = (asyncio.create_task(gathering.read([n])) for n in (1, 2))
    await asyncio.sleep(0.01)
    leaving.cancel()
    assert (await staying)[2] == 2


async def test_a_crowd_waits_for_its_turn_but_not_for_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store.Pool, "timeout", 0.3)
    calls = [store.read(time.sleep, 0.1) for _ in range(store.THREADS * 6)]
    await asyncio.gather(*calls)  # 0.6 s in all
    answer = threading.Event()
    stuck = [store.read(answer.wait, 30) for _ in range(store.THREADS)]
    ends = await asyncio.gather(
        *stuck, store.read(time.sleep, 0), return_exceptions=True
    )
    assert [type(end) for end in ends] == [StoreUnavailable] * (store.THREADS + 1)
    answer.set()
    await asyncio.to_thread(store.close_connections)
