"""Spectators as docs/protocol.md asks them to be: nothing is missing in the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from tests.faults.peer import SUBPROTOCOLS, Peer, Refused
from tests.faults.phones import Place
from tests.faults.randomness import new_rng

# A line on which nothing came for longer is lost: the heartbeat is 20.
SILENCE_S = 25.0
# Between attempts to connect, a random part of it.
RETRY_S = 1.0
# How often a client looks for tracks that it has to fetch.
FETCH_EVERY_S = 0.5
# Track requests at a time, of all clients of this process. Threads, not a semaphore:
# that would belong to the event loop of the first test.
_fetchers = ThreadPoolExecutor(4)


class Spectator:
    """Follows runners over a line that may fail, and keeps all it is told of them.

    Times come from the server only. A fix is known by runner and time; what is known
    already changes nothing.
    """

    def __init__(
        self, url: str, http_url: str, follow: dict[str, Any], codes: list[str]
    ) -> None:
        self.url = url
        self.http_url = http_url
        self.follow = follow
        self.codes = codes
        self.tracks: dict[str, dict[int, Place]] = defaultdict(dict)
        # The time of each runner's marker, and how often one went back.
        self.markers: Counter[str] = Counter()
        self.went_back = 0
        # `time` of the last frame after which nothing was missing.
        self.since: int | None = None
        # Whose snapshot has come.
        self.met: set[str] = set()
        # Tracks to fetch, each with the time since when.
        self.to_fetch: dict[str, int] = {}
        self.connects = 0
        self.truncated = 0
        self.merged = 0
        # Since when positions were merged away.
        self.merged_since: int | None = None
        self.fetches = 0
        self.errors: Counter[str] = Counter()
        # When positions arrived, by the monotonic clock.
        self.received: list[float] = []
        # Ends of connections, by close code.
        self.closes: Counter[int] = Counter()
        # Since when nothing is shown, and how long that took each time. Seconds.
        self.away_since: float | None = None
        self.gaps: list[float] = []
        # For how long the server asked to stay away. Seconds.
        self.stay_away: float | None = None
        self.line: _Line | None = None
        self._rng = new_rng()

    async def run(self) -> None:
        """Watch until cancelled."""
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

    # Received positions

    def hold(self, code: str, t: int, lat: float, lng: float) -> None:
        self.tracks[code].setdefault(t, (lat, lng))

    def move(self, code: str, t: int, lat: float, lng: float) -> None:
        self.hold(code, t, lat, lng)
        self.went_back += t < self.markers[code]
        self.markers[code] = max(t, self.markers[code])

    def meet(self, item: dict[str, Any]) -> None:
        """Take a runner as a snapshot describes them."""
        code = item["code"]
        if item["fix"] is None:
            return
        if code not in self.met:
            # The polyline of a trail has no times; the track has. The live flow may
            # have come first, when an earlier follow found no database.
            self.met.add(code)
            self.to_fetch[code] = 0
        t, lat, lng, *_ = item["fix"]
        self.hold(code, t, lat, lng)
        # A snapshot is read from the database and may be older than the live flow.
        self.markers[code] = max(t, self.markers[code])

    def missed(self, code: str, since: int) -> None:
        """Note that a track has to be fetched."""
        self.to_fetch[code] = min(since, self.to_fetch.get(code, since))

    # Tracks

    def fetch_merged(self) -> None:
        """Have the points fetched that were merged away, as somebody does who looks.

        A frame does not say whose they were.
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
                # Taken off before: what is announced from now on wants a new request.
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
        # Whether the snapshot has come. Until then the flow that comes already says
        # nothing of what was missed, and `since` stays what it was.
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
                # Backfill follows the last part immediately: only the next
                # frame is one after which nothing is missing.
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


@contextlib.asynccontextmanager
async def watching(spectators: list[Spectator]) -> AsyncIterator[None]:
    """Let the spectators watch in the background."""
    tasks = [asyncio.create_task(spectator.run()) for spectator in spectators]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(end, asyncio.CancelledError):
                raise AssertionError("A spectator's own code failed") from end


def differences(spectator: Spectator, tracks: dict[str, dict[int, Place]]) -> list[str]:
    """Say for each runner in what a spectator's picture is not the database's."""
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
