"""Run the client of 2015, with unchanged messages, against both servers.

100 users follow themselves and the next user, then send 1,000 random positions as fast
as possible. Every follower gets every valid position exactly once and in order, with
numeric ids. Every invalid one causes an error, sent to its sender only. The long form
has five runs with different positions and ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bench import seed2015
from bench.seed2015 import Seed2015Result
from tests.faults.by_hand import by_hand, open_server
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
    by_hand(client_of_2015, started=open_server)
