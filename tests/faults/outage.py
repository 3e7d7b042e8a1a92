"""Stop PostgreSQL for some seconds, then Redis, under load, and stop the servers last.

Two servers share both services. No process ends, no spectator's socket is lost, and
everything acked is stored. Without the database, live positions are still sent, nothing
is acked, and each fix is queued once. Without Redis, live positions are sent again as
soon as Redis is back. A server that is asked to stop stores what it has shown, and it
also ends without the database. In the long form each outage lasts 30 s, and its
durations have limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from bench import process
from runners.units.clock import now_ms
from tests.background import in_background
from tests.factories.people import make_phones
from tests.faults.by_hand import by_hand
from tests.faults.metrics import metrics
from tests.faults.peer import Peer, until
from tests.faults.phones import Phone, all_acked
from tests.faults.spectators import Spectator, caught_up, differences
from tests.faults.stores import (
    LOAD,
    StoppablePostgres,
    acked,
    not_as_acked,
    stored_in,
    tracebacks,
)
from tests.servers import Server
from tests.services import Redis
from tests.waiting import PATIENCE_S

# Per phone.
FIXES_PER_S = 5.0
# The runner of the seed dialect, whose positions get no acks.
SEED_RUNNER = 2015
SEED_POSITIONS_PER_S = 100.0
# Limits of the long form: time until live positions are back, time until a server has
# stopped, and the age of a runner's newest position without the database.
LIVE_AGAIN_S = 3.0
STOPPED_S = 10.0
FRESH_S = 2.0
# Memory of up to 100,000 unstored fixes.
GROWTH_KIB = 64 * 1024


@dataclass
class OutageReport:
    long: bool
    spectators: int = 0
    phones: int = 0
    away_s: float = 0.0
    # Without the database: the age of the oldest marker of any spectator, the markers
    # that did not move, the fixes that were made and acked meanwhile, the fixes that
    # were queued in the servers, and the fixes that were accepted but not stored.
    stalest_without_database_s: float = 0.0
    stalled: int = 0
    acked_without_database: int = 0
    waiting: int = 0
    unstored: int = 0
    growth_kib: int = 0
    # Seconds from the start of the database to the first ack, and to the last missing
    # ack.
    first_ack_s: float = 0.0
    caught_up_s: float = 0.0
    acks_without_redis: int = 0
    # Seconds from the start of Redis until every spectator had received a new position.
    live_again_s: float = 0.0
    # Spectators' sockets that were lost in either outage.
    sockets_lost: int = 0
    # Seconds from SIGTERM to the end, with and without the database, and the exit
    # statuses.
    stop_s: float = 0.0
    stop_without_database_s: float = 0.0
    stop_statuses: list[int] = field(default_factory=list)
    # Positions of the seed dialect that were shown before the stop, and how many of
    # these were not stored.
    shown: int = 0
    shown_not_stored: int = 0
    made: int = 0
    acked: int = 0
    differing: int = 0
    wrong: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        faults = list(self.wrong)
        if self.sockets_lost:
            faults.append(f"{self.sockets_lost} sockets of spectators were lost")
        if self.made != self.acked:
            faults.append(f"{self.made} made, {self.acked} acked")
        if self.differing:
            faults.append(f"{self.differing} spectators see something else")
        if self.shown_not_stored:
            faults.append(f"{self.shown_not_stored} shown before a stop, not stored")
        if self.stalled:
            faults.append(f"{self.stalled} positions stood still without the database")
        if self.acked_without_database:
            faults.append(f"{self.acked_without_database} acked without the database")
        if self.waiting > self.unstored:
            faults.append(f"{self.waiting} waited for {self.unstored} to be stored")
        # A server that takes too long exits with 1 and does not store the rest.
        if set(self.stop_statuses) != {-signal.SIGTERM}:
            faults.append(f"servers ended with {self.stop_statuses}")
        if self.long and self.growth_kib > GROWTH_KIB:
            faults.append(f"memory grew by {self.growth_kib} KiB")
        if self.long and max(self.stop_s, self.stop_without_database_s) > STOPPED_S:
            faults.append("stopping took too long")
        if self.long and self.live_again_s > LIVE_AGAIN_S:
            faults.append(f"live again only after {self.live_again_s} s")
        if self.long and self.stalest_without_database_s > FRESH_S:
            faults.append("the live flow stood still without the database")
        return faults


class SeedSpectator(Peer):
    """A client of 2015 that records the positions of the seed runner."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: set[float] = set()
        self.received_at = 0.0

    async def follow(self, server: Server, ids: list[object]) -> None:
        await self.open(server.ws_url + "/")
        self.send({"initialRequest": True, "following": [*ids, SEED_RUNNER]})

    def received(self, text: bytes) -> None:
        message = orjson.loads(text)
        if message.get("userId") == SEED_RUNNER:
            self.shown.add(message["lng"])
        self.received_at = time.monotonic()


async def publish_seed(server: Server) -> None:
    """Publish as a client of 2015, with a different longitude each time."""
    peer = await Peer().open(server.ws_url + "/")
    number = 0
    while not peer.closed.done():
        number += 1
        lng = round(1 + number / 1e5, 5)
        peer.send({"userId": SEED_RUNNER, "lat": 48.5, "lng": lng})
        await asyncio.sleep(1 / SEED_POSITIONS_PER_S)


class Scenario:
    """Two servers under load, with their phones and spectators."""

    def __init__(self, long: bool) -> None:
        self.report = OutageReport(long)
        self.report.phones, self.report.spectators = (60, 20) if long else (12, 8)
        self.report.away_s = 30 if long else 4
        self.phones: list[Phone] = []
        self.spectators: list[Spectator] = []
        # Spectators that connect while the database is unavailable.
        self.newcomers: list[Spectator] = []
        self.seeds: list[SeedSpectator] = []

    async def run(self) -> OutageReport:
        with contextlib.ExitStack() as stack:
            self.postgres = stack.enter_context(StoppablePostgres())
            self.redis = stack.enter_context(Redis())
            env = LOAD | {
                "DATABASE_URL": self.postgres.new_database(),
                "REDIS_URL": self.redis.url,
                "SPECTATE_OPEN": "1",
            }
            self.servers = [
                stack.enter_context(Server("uvicorn", **env)) for _ in range(2)
            ]
            await self._prepare()
            clients: list[Phone | Spectator] = [*self.spectators, *self.phones]
            async with in_background(*(client.run() for client in clients)):
                if not await until(self._all_received, PATIENCE_S):
                    raise AssertionError("No positions came.")
                await asyncio.to_thread(self.postgres.stop)
                async with in_background(*map(Spectator.run, self.newcomers)):
                    await self._without_database()
                    await self._without_redis()
                    self._count_lost()
                    await self._stop_one()
                    await self._compare()
                await self._stop_without_database()
            self.report.wrong += tracebacks(*self.servers)
        return self.report

    async def _prepare(self) -> None:
        report = self.report
        tokens = await self.servers[0].adatabase(make_phones, report.phones)
        codes = list(tokens)
        for number, (code, token) in enumerate(tokens.items()):
            url = self.servers[number % 2].ws_url + "/"
            self.phones.append(Phone(url, code, token, rate=FIXES_PER_S))
        self.spectators = [
            self._spectator(number, codes) for number in range(report.spectators)
        ]
        self.newcomers = [self._spectator(number, codes) for number in range(4)]
        for server in self.servers:
            seed = SeedSpectator()
            await seed.follow(server, [*codes])
            self.seeds.append(seed)
        self.publishing_seed = asyncio.create_task(publish_seed(self.servers[0]))

    def _spectator(self, number: int, codes: list[str]) -> Spectator:
        """Follow all public runners with every second spectator, on both servers."""
        server = self.servers[number // 2 % 2]
        url = server.ws_url + "/"
        some = codes[number // 4 % 2 :: 2]
        if number % 2:
            return Spectator(url, server.url, {"public": True}, codes)
        return Spectator(url, server.url, {"runners": some}, some)

    def _all_received(self) -> bool:
        everybody = all(
            spectator.markers[code]
            for spectator in self.spectators
            for code in spectator.codes
        )
        return everybody and all(seed.shown for seed in self.seeds)

    def _acked(self) -> int:
        return acked(self.phones)

    def _count_lost(self) -> None:
        everybody = [*self.spectators, *self.newcomers]
        self.report.sockets_lost = sum(each.connects != 1 for each in everybody)
        self.report.sockets_lost += sum(seed.closed.done() for seed in self.seeds)

    async def _hold(self, is_enough: Callable[[], bool]) -> None:
        """Leave a service stopped for `away_s` and until `is_enough()`."""
        end = time.monotonic() + self.report.away_s
        before = [process.rss_kib(server.pid) for server in self.servers]

        def is_over() -> bool:
            grown = [
                process.rss_kib(server.pid) - rss
                for server, rss in zip(self.servers, before, strict=True)
            ]
            self.report.growth_kib = max(self.report.growth_kib, *grown)
            return time.monotonic() > end and is_enough()

        await until(is_over, PATIENCE_S)

    def _stalled(self, since: int) -> int:
        """Count the markers of all spectators that have not moved since a time."""
        return sum(
            spectator.markers[code] <= since
            for spectator in self.spectators
            for code in spectator.codes
        )

    def _check_freshness(self) -> None:
        now = now_ms()
        self.report.stalest_without_database_s = max(
            (now - spectator.markers[code]) / 1000
            for spectator in self.spectators
            for code in spectator.codes
        )

    async def _count_waiting(self) -> None:
        for server in self.servers:
            values = await asyncio.to_thread(metrics, server)
            self.report.waiting += int(values["spectate_recorder_waiting"])
            self.report.unstored += int(
                values["spectate_accepted_total"] - values["spectate_stored_total"]
            )

    async def _without_database(self) -> None:
        report, gone_at = self.report, now_ms()
        await self._hold(lambda: not self._stalled(gone_at))
        report.stalled = self._stalled(gone_at)
        report.acked_without_database = sum(
            t > gone_at for phone in self.phones for t in phone.acked
        )
        self._check_freshness()
        await self._count_waiting()
        await asyncio.to_thread(self.postgres.start)
        back, acked = time.monotonic(), self._acked()
        made = {phone: set(phone.made) for phone in self.phones}
        if not await until(lambda: self._acked() > acked, PATIENCE_S):
            self.report.wrong.append("no ack came after the database was back")
        self.report.first_ack_s = round(time.monotonic() - back, 2)
        if not await until(
            lambda: all(phone.acked >= had for phone, had in made.items()),
            PATIENCE_S,
        ):
            self.report.wrong.append("not all was acked after the database was back")
        self.report.caught_up_s = round(time.monotonic() - back, 2)

    async def _without_redis(self) -> None:
        await asyncio.to_thread(self.redis.stop)
        acked = self._acked()
        await self._hold(lambda: self._acked() > acked)
        self.report.acks_without_redis = self._acked() - acked
        await asyncio.to_thread(self.redis.start)
        back = time.monotonic()
        if not await until(
            lambda: (
                all(each.received[-1] > back for each in self.spectators)
                and all(seed.received_at > back for seed in self.seeds)
            ),
            PATIENCE_S,
        ):
            self.report.wrong.append("the live flow did not come back")
        self.report.live_again_s = round(time.monotonic() - back, 2)

    async def _stop_one(self) -> None:
        """Stop a server under load and count what it has shown but not stored."""
        one = self.servers[0]
        start = time.monotonic()
        self.report.stop_statuses.append(await asyncio.to_thread(one.stop))
        self.report.stop_s = round(time.monotonic() - start, 2)
        await asyncio.gather(self.publishing_seed)
        await asyncio.sleep(0.5)
        shown = set().union(*(seed.shown for seed in self.seeds))
        found = await asyncio.to_thread(stored_in, one.env["DATABASE_URL"])
        track = found.tracks.get(str(SEED_RUNNER), {})
        kept = {lng for _, lng in track.values()}
        self.report.shown = len(shown)
        self.report.shown_not_stored = len(shown - kept)
        await asyncio.to_thread(one.start)

    async def _compare(self) -> None:
        """Wait until all fixes are acked and shown, then compare with the database."""
        report = self.report
        everybody = [*self.spectators, *self.newcomers]
        await all_acked(self.phones, PATIENCE_S)
        url = self.servers[0].env["DATABASE_URL"]
        found = await asyncio.to_thread(stored_in, url)
        await caught_up(everybody, found.tracks, PATIENCE_S)
        report.made = sum(len(phone.made) for phone in self.phones)
        report.acked = self._acked()
        report.wrong += not_as_acked(self.phones, found)
        for spectator in everybody:
            if spectator.errors.keys() - {"store.unavailable"}:
                report.wrong.append(f"a spectator was told {dict(spectator.errors)}")
            if different := differences(spectator, found.tracks):
                report.differing += 1
                if report.differing <= 3:
                    report.wrong.append(f"{spectator.follow}: {'; '.join(different)}")

    async def _stop_without_database(self) -> None:
        other = self.servers[1]
        publishing = asyncio.create_task(publish_seed(other))
        await asyncio.sleep(1)
        await asyncio.to_thread(self.postgres.stop)
        await asyncio.sleep(2)
        start = time.monotonic()
        self.report.stop_statuses.append(await asyncio.to_thread(other.stop))
        self.report.stop_without_database_s = round(time.monotonic() - start, 2)
        await asyncio.gather(publishing)
        await asyncio.to_thread(self.postgres.start)


async def outage(setup: str, long: bool) -> OutageReport:
    """Stop the services and the servers one after the other."""
    return await Scenario(long).run()


if __name__ == "__main__":
    by_hand(outage, ("two",))
