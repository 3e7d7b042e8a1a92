"""The server is killed at random moments while phones publish.

What a phone was told is stored is in the database, exactly once; what it was not told
it sends again. The long form is 50 kills on SQLite and 50 on PostgreSQL.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from tests.factories.people import make_phones
from tests.faults.phones import Phone, all_acked, carried
from tests.faults.randomness import rng
from tests.faults.stores import (
    Store,
    by_hand,
    not_as_acked,
    started,
    stored_in,
    tracebacks,
)

PHONES = 20
# Fixes a second and phone.
RATE = 20.0
# How long a server lives before it is killed.
LIFE_S = (0.2, 2.0)
# How long phones may take to have everything acked in the end.
ACKED_S = 60.0


@dataclass
class KillReport:
    store: str
    kills: int
    seconds: float = 0.0
    made: int = 0
    acked: int = 0
    stored: int = 0
    # Acked before the last kill, so that none of it was sent again afterwards.
    acked_before_the_last_kill: int = 0
    connects: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        faults = list(self.wrong)
        if self.refused:
            faults.append(f"refused: {self.refused}")
        if not self.made == self.acked == self.stored:
            faults.append(f"{self.made} made, {self.acked} acked, {self.stored} stored")
        return faults


async def kill9(store: Store, long: bool, kills: int | None = None) -> KillReport:
    """Kill a server again and again under load, then compare acked and stored."""
    report = KillReport(store, kills or (50 if long else 3))
    with started(store) as server:
        tokens = await server.adatabase(make_phones, PHONES)
        url = server.ws_url + "/"
        phones = [Phone(url, code, token, rate=RATE) for code, token in tokens.items()]
        start = time.monotonic()
        async with carried(phones):
            for _ in range(report.kills):
                acked = _acked(phones)
                while _acked(phones) == acked:  # it is under load again
                    await asyncio.sleep(0.02)
                await asyncio.sleep(rng.uniform(*LIFE_S))
                server.kill()
                report.acked_before_the_last_kill = _acked(phones)
                await asyncio.to_thread(server.start)
            await asyncio.sleep(1)
            await all_acked(phones, ACKED_S)
        report.seconds = round(time.monotonic() - start, 1)
        server.stop()
        stored = stored_in(server.env["DATABASE_URL"])
        report.made = sum(len(phone.made) for phone in phones)
        report.acked = _acked(phones)
        report.stored = stored.fixes
        report.connects = sum(phone.connects for phone in phones)
        for phone in phones:
            for code, count in phone.refused.items():
                report.refused[code] = report.refused.get(code, 0) + count
        report.wrong = not_as_acked(phones, stored)
        report.wrong += tracebacks(server)
    return report


def _acked(phones: list[Phone]) -> int:
    return sum(len(phone.acked) for phone in phones)


if __name__ == "__main__":
    by_hand(kill9)
