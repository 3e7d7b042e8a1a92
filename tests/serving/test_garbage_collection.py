from __future__ import annotations

import asyncio
import gc
import weakref

from runners.serving.garbage_collection import FullCollections
from tests.virtual_time import virtual_time
from tests.waiting import eventually


class Cycle:
    def __init__(self) -> None:
        self.self = self


async def test_old_cycles_are_freed_without_pythons_automatic_collections() -> None:
    before = gc.get_threshold()
    full = FullCollections(least=0.05)
    full.start()
    cycle = Cycle()
    gc.collect(1)  # Moves it to the oldest generation.
    reference = weakref.ref(cycle)
    del cycle
    gc.collect(1)
    assert reference() is not None

    await eventually(lambda: reference() is None)

    await full.close()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


async def test_memory_growth_triggers_an_earlier_collection() -> None:
    full = FullCollections(share=1e-9, least=0.01, growth=-1)
    full.start()
    await asyncio.sleep(0)
    cycle = Cycle()
    gc.collect(1)
    reference = weakref.ref(cycle)
    del cycle

    await eventually(lambda: reference() is None)

    await full.close()


@virtual_time
async def test_a_long_collection_delays_the_next_one() -> None:
    phases: list[str] = []

    def record_phase(phase: str, info: dict[str, int]) -> None:
        if info["generation"] == 2:
            phases.append(phase)

    # The first collection takes milliseconds, after which the next is weeks away.
    full = FullCollections(share=1e-9, least=0.01)
    full.start()
    gc.callbacks.append(record_phase)
    try:
        await asyncio.sleep(10)
    finally:
        gc.callbacks.remove(record_phase)
        await full.close()
    assert phases == ["start", "stop"]
