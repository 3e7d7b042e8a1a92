"""The cases: what a server does, and what a client has to do then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from clients.conformance.program import ClientUnderTest, Program
from clients.conformance.server import Connection, ScriptedServer

TOKEN = "a token"
FIXES = [{"t": 1000 * n, "lat": 48.5, "lng": n / 100} for n in range(1, 5402)]


def row_of(code: str, t: int) -> list[Any]:
    """Return a row of `positions`."""
    return [code, t, 48.5, 2.5, 3.4, 270, None]


def runner_of(code: str, t: int, **fields: Any) -> dict[str, Any]:
    """Return a runner of a snapshot."""
    return {"code": code, "name": code, "fix": row_of(code, t)[1:], **fields}


async def moved_to(spectator: ClientUnderTest, t: int) -> None:
    """Wait until the client has reported a position of this time."""
    while (await spectator.event("moved"))[1]["t"] != t:
        pass


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
    await phone.add(FIXES[0])
    for delay in (500, 1000, 2000):
        connection = await case.phone_connection()
        assert (await connection.receive("publish"))["fixes"] == FIXES[:1]
        connection.cut()
        assert await phone.skip_wait() == delay
    connection = await case.phone_connection()
    await connection.ack(await connection.receive("publish"))
    await phone.flush()
    connection.cut()
    # A request was answered.
    assert await phone.skip_wait() == 500
    await case.connection()
    assert await phone.stop() == []


async def reconnect(case: Case) -> None:
    """Comes back exactly when the server requested."""
    phone = case.publisher()
    for after in (2150, 0, 40_000):
        connection = await case.phone_connection()
        await connection.send("reconnect", after=after)
        await connection.close(1012)
        assert await phone.skip_wait() == after
    await case.phone_connection()


async def overload(case: Case) -> None:
    """After 1013 and 4413 starts from 16 s, after other codes as after a cut."""
    phone = case.publisher()
    await phone.add(FIXES[0])
    delays = {1011: 500, 1012: 1000, 4408: 2000, 1013: 8000, 4413: 15_000, 1001: 15_000}
    for code, delay in delays.items():
        connection = await case.phone_connection()
        await connection.close(code)
        assert await phone.skip_wait() == delay
    await case.phone_connection()


async def closed_4401(case: Case) -> None:
    """Reports a dead token while positions still come in, and does not reconnect."""
    phone = case.publisher()
    connection = await case.phone_connection()
    await connection.error("token.revoked")
    await connection.close(4401)
    *before, ended = await phone.events_until("ended")
    assert ended["args"] == ["token.revoked", "This is token.revoked."]
    assert [event["event"] for event in before] == ["runner"]
    assert await phone.add(FIXES[0]) == 0


async def closed_4403(case: Case) -> None:
    """Reports a share link that has ended, and does not reconnect."""
    spectator = case.spectator(share="a link")
    connection = await case.connection()
    await connection.snapshot(await connection.welcome())
    await connection.error("share.ended")
    await connection.close(4403)
    (ended,) = await spectator.events_until("ended")
    assert ended["args"] == ["share.ended", "This is share.ended."]


async def closed_4429(case: Case) -> None:
    """Sends nothing before `after` has passed, also on the next connection."""
    phone = case.publisher()
    await phone.add(FIXES[0])
    connection = await case.phone_connection()
    batch = await connection.receive("publish")
    await connection.error("rate.limited", id=batch["id"], after=2000)
    assert await phone.waits() == 2000
    await phone.add(FIXES[1])
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


async def handshake_403(case: Case) -> None:
    """Reports a refused handshake, and does not repeat it."""
    case.server.forbidden.add(case.path)
    phone = case.publisher()
    (ended,) = await phone.events_until("ended")
    assert ended["args"] == ["handshake.refused", "This is not allowed."]


async def silence(case: Case) -> None:
    """Takes two and a half heartbeats without a frame for a lost connection."""
    phone = case.publisher()
    connection = await case.connection()
    await connection.authenticate(TOKEN, heartbeat=0.05)
    assert await phone.skip_wait() == 500
    await case.phone_connection()


async def token_moved(case: Case) -> None:
    """Discards what belonged to the previous runner of the phone."""
    phone = case.publisher()
    connection = await case.phone_connection("bob")
    assert await phone.event("runner") == ["bob"]
    await phone.add(FIXES[0])
    await connection.receive("publish")
    await connection.error("token.moved")
    await connection.close(1012)
    await phone.waits()
    await phone.add(FIXES[1])
    phone.elapse()
    connection = await case.phone_connection("eve")
    assert await phone.event("runner") == ["eve"]
    await phone.add(FIXES[2])
    assert (await connection.receive("publish"))["fixes"] == FIXES[2:3]


async def share_unknown(case: Case) -> None:
    """Reports a share link that does not exist, and does not try it again."""
    spectator = case.spectator(share="no link")
    connection = await case.connection()
    follow = await connection.welcome()
    await connection.error("share.unknown", id=follow["id"])
    (ended,) = await spectator.events_until("ended")
    assert ended["args"] == ["share.unknown", "This is share.unknown."]
    assert await connection.rest() == []


async def refused_follow(case: Case) -> None:
    """Reports who cannot be followed, and goes on with the others."""
    spectator = case.spectator(runners=["bob", "eve"], share="no link")
    connection = await case.connection()
    follow = await connection.welcome()
    await connection.error("follow.forbidden", id=follow["id"], runner="eve")
    await connection.error("share.revoked", id=follow["id"])
    await connection.snapshot(follow, runner_of("bob", 1))
    forbidden = ["follow.forbidden", "This is follow.forbidden.", "eve"]
    assert await spectator.event("refused") == forbidden
    revoked = ["share.revoked", "This is share.revoked.", "no link"]
    assert await spectator.event("refused") == revoked
    assert (await spectator.event("moved"))[0] == "bob"


async def refused_fixes(case: Case) -> None:
    """Reports fixes that are refused for good, and does not send them again."""
    phone = case.publisher()
    await phone.add(*FIXES[:2])
    connection = await case.phone_connection()
    batch = await connection.receive("publish")
    await connection.ack(batch, [[1, "position.future", "In the future."]])
    refused = ["position.future", "In the future.", [FIXES[1]]]
    assert await phone.event("refused") == refused
    await phone.add(FIXES[2])
    batch = await connection.receive("publish")
    assert batch["fixes"] == [FIXES[2]]
    await connection.error("publish.invalid", id=batch["id"])
    refused = ["publish.invalid", "This is publish.invalid.", [FIXES[2]]]
    assert await phone.event("refused") == refused
    await phone.add(FIXES[3])
    batch = await connection.receive("publish")
    await connection.error("runner.unknown", id=batch["id"])
    assert (await phone.event("ended"))[0] == "runner.unknown"
    assert await phone.stop() == [FIXES[3]]


async def slow_acks(case: Case) -> None:
    """Goes on publishing while acks are late, in any order or repeated."""
    phone = case.publisher()
    connection = await case.phone_connection()
    batches = []
    for fix in FIXES[:3]:
        await phone.add(fix)
        batches.append(await connection.receive("publish"))
    assert [batch["fixes"] for batch in batches] == [[fix] for fix in FIXES[:3]]
    phone.do("flush")
    for n in (2, 2, 0):
        await connection.ack(batches[n])
    phone.do("add", fixes=[FIXES[3]])
    before = await phone.events_until("added")
    assert "flushed" not in [event["event"] for event in before]
    await connection.ack(await connection.receive("publish"))
    await connection.ack(batches[1])
    await phone.event("flushed")
    assert await phone.stop() == []
    assert await connection.rest() == []


async def backlog(case: Case) -> None:
    """Has at most 5,000 fixes without an ack on the way, in small frames."""
    phone = case.publisher()
    await phone.add(*FIXES)
    connection = await case.phone_connection()
    sent: list[Any] = []
    while len(sent) < 5000:
        batch = await connection.receive("publish")
        assert len(batch["fixes"]) <= 500
        sent += batch["fixes"]
    assert sent == FIXES[:5000]
    await connection.ack(batch)
    following = await connection.receive("publish")
    assert following["fixes"][0] == FIXES[5000]
    acked = batch["fixes"]
    assert await phone.stop() == [fix for fix in FIXES if fix not in acked]
    assert await connection.rest() == []


async def full_queue(case: Case) -> None:
    """Refuses a fix for which its queue has no room, and drops none."""
    phone = case.publisher(capacity=2)
    assert await phone.add(*FIXES[:3]) == 2
    connection = await case.phone_connection()
    batch = await connection.receive("publish")
    assert batch["fixes"] == FIXES[:2]
    assert await phone.add(FIXES[2]) == 0
    await connection.ack(batch)
    await phone.flush()
    assert await phone.add(FIXES[2]) == 1


async def duplicates(case: Case) -> None:
    """Moves a marker only to a later position."""
    spectator = case.spectator(runners=["bob"])
    connection = await case.connection()
    await connection.snapshot(await connection.welcome(), runner_of("bob", 5))
    for t in (5, 6, 6, 4):
        await connection.positions(t, row_of("bob", t))
    await connection.positions(7, row_of("bob", 7))
    moved = [(await spectator.event("moved"))[1]["t"] for _ in range(3)]
    assert moved == [5, 6, 7]


async def snapshot_of_1_mb(case: Case) -> None:
    """Accepts a snapshot of more than 1 MB, in parts or in one."""
    spectator = case.spectator(public=True)
    connection = await case.connection()
    runners = [runner_of(f"r{n}", 1, trail="?" * 11_000) for n in range(100)]
    follow = await connection.welcome()
    await connection.snapshot(follow, *runners, more=True)
    await connection.snapshot(follow, runner_of("last", 1))
    moved = [(await spectator.event("moved"))[0] for _ in range(101)]
    assert moved == [*(runner["code"] for runner in runners), "last"]


async def missed(case: Case) -> None:
    """Asks for what it missed since the last frame before which nothing was missing."""
    spectator = case.spectator(races=["run"])
    connection = await case.connection()
    follow = await connection.welcome()
    assert "since" not in follow
    await connection.snapshot(follow, runner_of("bob", 5), runner_of("eve", 5), time=5)
    await connection.positions(20, row_of("bob", 20))
    await moved_to(spectator, 20)
    connection.cut()
    await spectator.skip_wait()
    connection = await case.connection()
    follow = await connection.welcome()
    assert follow["since"] == 20
    # A live frame before the gap is closed.
    await connection.snapshot(follow, runner_of("bob", 20), time=30, more=True)
    await connection.positions(40, row_of("bob", 40))
    await moved_to(spectator, 40)
    connection.cut()
    await spectator.skip_wait()
    connection = await case.connection()
    follow = await connection.welcome()
    assert follow["since"] == 20
    await connection.snapshot(follow, runner_of("bob", 40), truncated=["bob"])
    assert await spectator.event("gap") == ["bob", 20]
    # May no longer be shown.
    assert await spectator.event("lost") == ["eve"]
    await connection.send("late", runner="bob", fixes=[[30, 48.5, 2.5]])
    passed = {"t": 30, "lat": 48.5, "lng": 2.5}
    assert await spectator.event("passed") == ["bob", passed]


async def store_unavailable(case: Case) -> None:
    """Follows again when the database is back, on the same connection."""
    spectator = case.spectator(races=["run"])
    connection = await case.connection()
    follow = await connection.welcome()
    await connection.error("store.unavailable", id=follow["id"], after=2000)
    assert await spectator.skip_wait() == 2000
    assert await connection.receive("follow") == follow
    await connection.snapshot(follow, runner_of("bob", 1))
    await spectator.event("moved")


async def unknown_messages(case: Case) -> None:
    """Ignores messages, events and values that later versions may add."""
    spectator = case.spectator(races=["run"])
    connection = await case.connection()
    follow = await connection.welcome()
    await connection.send("weather", time=1, rain=True)
    await connection.snapshot(follow, time=1, wind=3)
    await connection.send("event", kind="weather", time=2, runner="bob")
    await connection.error("weather.unknown", place=[1, 2])
    await connection.positions(3, [*row_of("bob", 3), 8.5, "more", None])
    await moved_to(spectator, 3)


async def stop(case: Case) -> None:
    """Ends at once, also during a wait, and hands out what was not acked."""
    phone = case.publisher()
    await phone.add(FIXES[0])
    connection = await case.phone_connection()
    await connection.receive("publish")
    connection.cut()
    await phone.waits()
    assert await phone.stop() == FIXES[:1]
    phone.elapse()
    # The program has processed everything once it replies to this.
    await phone.stop()
    assert not case.server.has_accepted(case.path)


CASES: dict[str, Callable[[Case], Awaitable[None]]] = {
    "cut": cut,
    "`reconnect`": reconnect,
    "overload": overload,
    "4401": closed_4401,
    "4403": closed_4403,
    "4429 with `after`": closed_4429,
    "handshake 403": handshake_403,
    "silence": silence,
    "`token.moved`": token_moved,
    "`share.unknown`": share_unknown,
    "refused follow": refused_follow,
    "refused fixes": refused_fixes,
    "slow acks": slow_acks,
    "backlog": backlog,
    "full queue": full_queue,
    "duplicates": duplicates,
    "snapshot of 1 MB": snapshot_of_1_mb,
    "missed positions": missed,
    "`store.unavailable`": store_unavailable,
    "unknown messages": unknown_messages,
    "stop": stop,
}
