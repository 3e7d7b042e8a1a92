from __future__ import annotations

import asyncio
import gc
import weakref

from runners.serving.garbage_collection import FullCollections


class Knot:
    def __init__(self) -> None:
        self.self = self


async def test_a_cycle_that_grew_old_is_freed_without_python_looking_by_itself() -> (
    None
):
    before = gc.get_threshold()
    full = FullCollections(least=0.05)
    knot = Knot()
    gc.collect(1)  # Old from here on.
    forgotten = weakref.ref(knot)
    del knot
    gc.collect(1)
    assert forgotten() is not None

    async with asyncio.timeout(10):
        while forgotten() is not None:
            await asyncio.sleep(0.01)

    await full.close()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


async def test_it_is_looked_at_earlier_when_memory_grows() -> None:
    full = FullCollections(share=1e-9, least=0.01, growth=-1)
    await asyncio.sleep(0)
    knot = Knot()
    gc.collect(1)
    forgotten = weakref.ref(knot)
    del knot

    async with asyncio.timeout(10):
        while forgotten() is not None:
            await asyncio.sleep(0.01)

    await full.close()


async def test_the_longer_it_takes_the_longer_it_waits() -> None:
    seen: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if info["generation"] == 2:
            seen.append(phase)

    # After the first, which takes some milliseconds, it waits for weeks.
    full = FullCollections(share=1e-9, least=0.01)
    gc.callbacks.append(note)
    try:
        await asyncio.sleep(0.5)
    finally:
        gc.callbacks.remove(note)
        await full.close()
    assert seen == ["start", "stop"]
