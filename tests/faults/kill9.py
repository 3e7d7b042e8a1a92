"""Kill the server at random moments while phones publish.

Every fix that was acked is in the database exactly once, and phones send the others
again. The long form is 50 kills on SQLite and 50 on PostgreSQL.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.background import in_background
from tests.factories.people import make_phones
from tests.faults.by_hand import by_hand
from tests.faults.comparison import PhonesReport
from tests.faults.phones import Phone, all_acked
from tests.faults.randomness import rng
from tests.faults.stores import (
    STORES,
    Store,
    acked,
    started,
    stored_in,
    tracebacks,
)

PHONE_COUNT = 20
# Per phone.
FIXES_PER_S = 20.0
# Time from a server's start to its kill.
LIFETIME_S = (0.2, 2.0)
# Time that phones have in the end until all fixes are acked.
ACKED_TIMEOUT_S = 60.0


@dataclass
class KillReport(PhonesReport):
    store: str
    kills: int
    seconds: float = 0.0
    # Fixes acked before the last kill, which no phone has sent again.
    acked_before_the_last_kill: int = 0
    connects: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.refused:
            faults.append(f"refused: {self.refused}")
        return faults


async def kill9(store: Store, long: bool, kills: int | None = None) -> KillReport:
    """Kill a server repeatedly under load, then compare acked and stored fixes."""
    report = KillReport(store, kills or (50 if long else 3))
    with started(store) as server:
        tokens = await server.adatabase(make_phones, PHONE_COUNT)
        url = server.ws_url + "/"
        phones = [
            Phone(url, code, token, rate=FIXES_PER_S) for code, token in tokens.items()
        ]
        start = time.monotonic()
        async with in_background(*map(Phone.run, phones)):
            for _ in range(report.kills):
                before = acked(phones)
                while acked(phones) == before:  # until it is under load again
                    await asyncio.sleep(0.02)
                await asyncio.sleep(rng.uniform(*LIFETIME_S))
                server.kill()
                report.acked_before_the_last_kill = acked(phones)
                await asyncio.to_thread(server.start)
            await asyncio.sleep(1)
            await all_acked(phones, ACKED_TIMEOUT_S)
        report.seconds = round(time.monotonic() - start, 1)
        server.stop()
        stored = stored_in(server.env["DATABASE_URL"])
        report.compare_phones(phones, stored)
        report.connects = sum(phone.connects for phone in phones)
        report.refused = dict(sum((phone.refused for phone in phones), Counter()))
        report.wrong += tracebacks(server)
    return report


if __name__ == "__main__":
    by_hand(kill9, STORES)
