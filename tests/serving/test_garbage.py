from __future__ import annotations

import asyncio
import gc
import weakref

from runners.serving.garbage_collection import FullCollections
from tests.virtual_time import virtual_time
from tests.waiting import eventually


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

    await eventually(lambda: forgotten() is None)

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

    await eventually(lambda: forgotten() is None)

    await full.close()


@virtual_time
async def test_the_longer_it_takes_the_longer_it_waits() -> None:
    seen: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if info["generation"] == 2:
            seen.append(phase)

    # After the first, which takes some milliseconds, it waits for weeks.
    full = FullCollections(share=1e-9, least=0.01)
    gc.callbacks.append(note)
    try:
        await asyncio.sleep(10)
    finally:
        gc.callbacks.remove(note)
        await full.close()
    assert seen == ["start", "stop"]
