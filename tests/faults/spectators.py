"""Spectators that follow docs/protocol.md: in the end they have missed nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from tests.faults.peer import SUBPROTOCOLS, Peer, until
from tests.faults.phones import Place
from tests.faults.randomness import new_rng
from tests.websocket import Refused

# Longest silence of a working connection. The heartbeat is sent every 20 s.
SILENCE_S = 25.0
# Upper bound of the random wait between attempts to connect.
RETRY_S = 1.0
# How often a client checks for tracks to fetch.
FETCH_EVERY_S = 0.5
# Concurrent track requests of all clients of this process. Threads instead of a
# semaphore, which would belong to the event loop of the first test.
_fetchers = ThreadPoolExecutor(4)


class Spectator:
    """Follows runners over a connection that may fail and keeps all positions received.

    All times are the server's. A runner's code and a time identify a fix, and
    duplicates change nothing.
    """

    def __init__(
        self, url: str, http_url: str, follow: dict[str, Any], codes: list[str]
    ) -> None:
        self.url = url
        self.http_url = http_url
        self.follow = follow
        self.codes = codes
        self.tracks: dict[str, dict[int, Place]] = defaultdict(dict)
        # The time of each runner's marker, and how often a marker moved back in time.
        self.markers: Counter[str] = Counter()
        self.went_back = 0
        # `time` of the last frame up to which nothing is missing.
        self.since: int | None = None
        # Runners whose snapshot has arrived.
        self.met: set[str] = set()
        # Tracks to fetch: the start time by runner's code.
        self.to_fetch: dict[str, int] = {}
        self.connects = 0
        self.truncated = 0
        self.merged = 0
        # Time from which positions have been merged away.
        self.merged_since: int | None = None
        self.fetches = 0
        self.errors: Counter[str] = Counter()
        # Arrival times of positions, by the monotonic clock.
        self.received: list[float] = []
        # Ended connections by close code.
        self.closes: Counter[int] = Counter()
        # Start of the present interruption, and the durations of all interruptions in
        # seconds.
        self.away_since: float | None = None
        self.gaps: list[float] = []
        # Time that the server asked the client to wait before it reconnects, in
        # seconds.
        self.stay_away: float | None = None
        self.line: _Line | None = None
        self._rng = new_rng()

    async def run(self) -> None:
        """Connect and reconnect until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fetch_often())
            while True:
                with contextlib.suppress(OSError, Refused, TimeoutError):
                    await self._poll_line()
                if self.away_since is None:
                    self.away_since = time.monotonic()
                wait, self.stay_away = self.stay_away, None
                if wait is None:
                    wait = self._rng.uniform(0, RETRY_S)
                await asyncio.sleep(wait)

    async def _poll_line(self) -> None:
        line = _Line(self)
        try:
            await line.open(self.url, SUBPROTOCOLS["v1"])
            self.connects += 1
            self.line = line
            line.follow()
            while not line.closed.done():
                await asyncio.wait([line.closed], timeout=1)
                if time.monotonic() - line.received_at > SILENCE_S:
                    return
            self.closes[line.closed.result()] += 1
        finally:
            self.line = None
            if hasattr(line, "transport"):
                line.reset()

    # -- received positions

    def hold(self, code: str, t: int, lat: float, lng: float) -> None:
        self.tracks[code].setdefault(t, (lat, lng))

    def move(self, code: str, t: int, lat: float, lng: float) -> None:
        self.hold(code, t, lat, lng)
        self.went_back += t < self.markers[code]
        self.markers[code] = max(t, self.markers[code])

    def meet(self, item: dict[str, Any]) -> None:
        """Apply a runner's state from a snapshot."""
        code = item["code"]
        if item["fix"] is None:
            return
        if code not in self.met:
            # A trail has no times, but the track has. Live positions may have arrived
            # first if an earlier follow failed without the database.
            self.met.add(code)
            self.to_fetch[code] = 0
        t, lat, lng, *_ = item["fix"]
        self.hold(code, t, lat, lng)
        # A snapshot comes from the database and may be older than live positions.
        self.markers[code] = max(t, self.markers[code])

    def missed(self, code: str, since: int) -> None:
        """Schedule a track request."""
        self.to_fetch[code] = min(since, self.to_fetch.get(code, since))

    # -- tracks

    def fetch_merged(self) -> None:
        """Schedule requests for positions that were merged away.

        A frame does not say which runners they belong to.
        """
        if self.merged_since is not None:
            for code in self.codes:
                self.missed(code, self.merged_since)
            self.merged_since = None

    async def _fetch_often(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(FETCH_EVERY_S)
            for code in list(self.to_fetch):
                # Removed before the request, because a later announcement needs a new
                # request.
                since = self.to_fetch.pop(code)
                points = await loop.run_in_executor(_fetchers, self._fetch, code, since)
                if points is None:
                    self.missed(code, since)
                    break
                self.fetches += 1
                for t, lat, lng, _ in points:
                    self.hold(code, t, lat, lng)

    def _fetch(self, code: str, since: int) -> list[Any] | None:
        url = f"{self.http_url}/runners/{code}/track.json?since={since}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                points: list[Any] = json.load(response)["points"]
                return points
        except (OSError, urllib.error.URLError, ValueError):
            return None


class _Line(Peer):
    """One connection of a spectator."""

    def __init__(self, spectator: Spectator) -> None:
        super().__init__()
        self.spectator = spectator
        self.requested_since = 0
        # Whether the complete snapshot has arrived. Earlier live positions do not show
        # what was missed, so `since` does not change until then.
        self.caught_up = False
        self.received_at = time.monotonic()

    def follow(self) -> None:
        since = self.spectator.since
        self.requested_since = since or 0
        message = {"type": "follow", "tick": 0} | self.spectator.follow
        self.send(message if since is None else message | {"since": since})

    def received(self, text: bytes) -> None:
        message = orjson.loads(text)
        self.received_at = time.monotonic()
        spectator = self.spectator
        match message["type"]:
            case "positions":
                for code, t, lat, lng, *_ in message["fixes"]:
                    spectator.move(code, t, lat, lng)
                if message["fixes"]:
                    spectator.received.append(self.received_at)
                if message["merged"]:
                    spectator.merged += message["merged"]
                    if spectator.merged_since is None:
                        spectator.merged_since = spectator.since or self.requested_since
            case "late":
                for t, lat, lng in message["fixes"]:
                    spectator.hold(message["runner"], t, lat, lng)
            case "snapshot":
                for item in message["runners"]:
                    spectator.meet(item)
                for code in message["truncated"]:
                    spectator.truncated += 1
                    spectator.missed(code, self.requested_since)
                # Backfill follows the last part immediately. Nothing is missing only
                # from the next frame on.
                self.caught_up |= not message["more"]
                if spectator.away_since is not None:
                    gap = self.received_at - spectator.away_since
                    spectator.gaps.append(gap)
                    spectator.away_since = None
                return
            case "reconnect":
                spectator.stay_away = message["after"] / 1000
            case "event" if message["kind"] == "runner":
                if message["change"] != "removed":
                    spectator.meet(message["runner"])
            case "error":
                spectator.errors[message["code"]] += 1
                if message["code"] == "store.unavailable":
                    loop = asyncio.get_running_loop()
                    loop.call_later(message["after"] / 1000, self._follow_again)
                else:
                    self.reset()
        if self.caught_up and "time" in message:
            spectator.since = message["time"]

    def _follow_again(self) -> None:
        if not self.closed.done():
            self.follow()


def differences(spectator: Spectator, tracks: dict[str, dict[int, Place]]) -> list[str]:
    """Return a sentence for each runner whose positions differ from the database."""
    found = []
    for code in spectator.codes:
        there, here = tracks.get(code, {}), spectator.tracks.get(code, {})
        missing, strange = there.keys() - here.keys(), here.keys() - there.keys()
        other = [t for t in there.keys() & here.keys() if there[t] != here[t]]
        if missing or strange or other:
            found.append(
                f"{code}: {len(missing)} missing, {len(strange)} unknown, "
                f"{len(other)} elsewhere"
            )
        elif there and spectator.markers[code] != max(there):
            found.append(f"{code}: the marker is not at the latest position")
    return found


async def caught_up(
    spectators: Sequence[Spectator], tracks: dict[str, dict[int, Place]], seconds: float
) -> None:
    """Wait until all spectators have what was merged away, and no more differences."""
    for spectator in spectators:
        spectator.fetch_merged()
    await until(
        lambda: not any(differences(each, tracks) for each in spectators), seconds
    )
