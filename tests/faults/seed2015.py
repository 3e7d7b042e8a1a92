"""The client of 2015, its messages unchanged, against both servers.

100 users follow themselves and the next one, then send 1,000 random positions as fast
as they can: every follower gets every valid one exactly once and in order, ids as
numbers; the others get an error, to the sender only. The long form does it five times
with positions and ids of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bench import seed2015
from bench.seed2015 import Seed2015Result
from tests.faults.by_hand import by_hand
from tests.servers import Server
from tests.waiting import PATIENCE_S


@dataclass
class Seed2015Report:
    runs: list[Seed2015Result] = field(default_factory=list)

    def faults(self) -> list[str]:
        return [
            f"{count} {name}"
            for run in self.runs
            for name, count in (
                ("lost", run.lost),
                ("twice", run.duplicates),
                ("out of order", run.disordered),
                ("invalid but delivered", run.invalid_delivered),
                ("errors missing", run.invalid - run.errors),
                ("errors to others than the sender", run.errors_astray),
                ("strange", run.strange),
                ("sockets closed", run.closed),
            )
            if count
        ]


async def client_of_2015(server: Server, long: bool) -> Seed2015Report:
    report = Seed2015Report()
    for number in range(5 if long else 1):
        report.runs.append(
            await seed2015.run(
                server.ws_url + "/",
                pid=server.pid,
                first_id=1 + 1000 * number,
                seed=2015 + number,
                silence=PATIENCE_S,
            )
        )
    return report


if __name__ == "__main__":
    by_hand(client_of_2015)
