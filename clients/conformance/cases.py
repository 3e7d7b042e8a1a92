"""The cases: what a server does, and what a client has to do then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from clients.conformance.program import ClientUnderTest, Program
from clients.conformance.server import Connection, ScriptedServer

TOKEN = "a token"
FIXES = [{"t": 1000 * n, "lat": 48.5, "lng": n / 100} for n in range(1, 1001)]


class Case:
    """A client of a program, and its connections to the scripted server."""

    def __init__(self, name: str, program: Program, server: ScriptedServer) -> None:
        self.path = f"/{name}"
        self.server = server
        self._name, self._program = name, program

    def publisher(self, capacity: int = 10_000) -> ClientUnderTest:
        return self._client(do="publish", token=TOKEN, capacity=capacity)

    def spectator(self, **follow: Any) -> ClientUnderTest:
        return self._client(do="follow", follow=follow)

    def _client(self, **command: Any) -> ClientUnderTest:
        url = self.server.url + self.path
        return ClientUnderTest(self._program, self._name, url=url, **command)

    async def connection(self) -> Connection:
        return await self.server.accepted(self.path)

    async def phone_connection(self, runner: str = "bob") -> Connection:
        """Return the next connection, of a publisher that has been welcomed."""
        connection = await self.connection()
        await connection.authenticate(TOKEN, runner)
        return connection


async def cut(case: Case) -> None:
    """Sends fixes without an ack again, after a random part of 1 s, 2 s, 4 s …"""
    phone = case.publisher()
    phone.add(FIXES[0])
    for delay in (500, 1000, 2000):
        connection = await case.phone_connection()
        assert (await connection.receive("publish"))["fixes"] == FIXES[:1]
        connection.cut()
        assert await phone.skip_wait() == delay
    connection = await case.phone_connection()
    await connection.ack(await connection.receive("publish"))
    phone.do("flush")
    await phone.event("flushed")
    connection.cut()
    # A request was answered.
    assert await phone.skip_wait() == 500
    await case.connection()
    assert await phone.stop() == []


async def closed_4401(case: Case) -> None:
    """Reports a dead token while positions still come in, and does not reconnect."""
    phone = case.publisher()
    connection = await case.phone_connection()
    await connection.error("token.revoked")
    await connection.close(4401)
    *before, ended = await phone.events_until("ended")
    assert ended["args"] == ["token.revoked", "This is token.revoked."]
    assert [event["event"] for event in before] == ["runner"]
    phone.add(FIXES[0])
    assert await phone.event("added") == [False]


async def closed_4429(case: Case) -> None:
    """Sends nothing before `after` has passed, also on the next connection."""
    phone = case.publisher()
    phone.add(FIXES[0])
    connection = await case.phone_connection()
    batch = await connection.receive("publish")
    await connection.error("rate.limited", id=batch["id"], after=2000)
    assert await phone.waits() == 2000
    phone.add(FIXES[1])
    await phone.event("added")
    phone.elapse()
    batch = await connection.receive("publish")
    assert batch["fixes"] == FIXES[:2]
    await connection.error("rate.limited", id=batch["id"], after=3000)
    assert await phone.waits() == 3000
    await connection.close(4429)
    assert await phone.skip_wait() == 3000 + 16_000 / 2
    connection = await case.phone_connection()
    batch = await connection.receive("publish")
    assert batch["fixes"] == FIXES[:2]
    assert await phone.stop() == FIXES[:2]


CASES: dict[str, Callable[[Case], Awaitable[None]]] = {
    "cut": cut,
    "4401": closed_4401,
    "4429 with `after`": closed_4429,
}
