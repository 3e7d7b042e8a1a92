"""Decides about new sockets, which are refused in a drain and under overload."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Awaitable
from functools import cache

from django.conf import settings

from runners.live.close_codes import OVERLOADED, RECONNECT, TOO_FAST
from runners.live.hub import Hub
from runners.positions.rate_limits import Limits

# Time between checks of the event loop.
STEP_S = 0.1
# The lag is the greatest of the recent past, decaying by this factor per step. It is
# capped at MAX_LAG_S, which decays to one second in 8 s.
DECAY = 0.97
MAX_LAG_S = 10.0
# How long the lag must exceed its limit. A crowd that connects at once causes a few
# seconds of lag and is accepted.
PATIENCE_S = 5.0
# Reports of phones are refused when the lag is this many times its limit.
REPORTS_LIMIT_FACTOR = 5
# Descriptors that are reserved for files, the database and Redis.
RESERVE = 200
# The part of the descriptors for plain HTTP: pages, phones and handshakes.
HTTP_SHARE = 8
# How long the handshakes of a network wait after a flood of frames from it. Nothing is
# read meanwhile: a flood that reconnects would be read again and again. If they were
# refused, a flood that goes on would keep others behind its address out.
FLOOD_WAIT_S = 2
# The part of the sockets that the waiting handshakes of one network may take.
WAITING_SHARE = 8


@cache
def descriptors() -> int:
    """Return how many files and sockets this process may open; it changes no more."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connection_limit() -> int:
    """Return how many connections without a websocket this process accepts."""
    return descriptors() // HTTP_SHARE


class Admission:
    """Decides about each new socket of one event loop.

    The lag is the lateness of the event loop or of the writes after their tick,
    whichever is greater: a loop that only writes is never late for other tasks.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.draining = False
        # Refused sockets by reason.
        self.refused: Counter[str] = Counter()
        self.lag = 0.0
        # By network: the seconds since a flood.
        self._floods = Limits(1, FLOOD_WAIT_S)
        # Handshakes that are held back, by network: sockets as well.
        self._held_back: Counter[str] = Counter()
        self.socket_limit = settings.SPECTATE_SOCKETS or (
            descriptors() - RESERVE - connection_limit()
        )
        # When the first and the latest measurement exceeded the limit, since the lag
        # was last below it. Loop time.
        self._late_since: float | None = None
        self._late_at = 0.0
        self._task = asyncio.create_task(self._measure_often())

    @property
    def overloaded(self) -> bool:
        """Return whether measurements have exceeded the limit for a while.

        One stall, such as of a stopped process, is one measurement, however long.
        """
        since = self._late_since
        return since is not None and self._late_at - since > PATIENCE_S

    @property
    def refuses_reports(self) -> bool:
        """Return whether reports of phones are refused as well.

        Phones are refused last. Some discard refused fixes, and accepting a fix costs
        little compared with sending it to thousands of spectators.
        """
        limit = REPORTS_LIMIT_FACTOR * settings.SPECTATE_LAG_LIMIT / 1000
        return self.overloaded and self.lag > limit

    def refusal(self, network: str) -> tuple[int, str] | None:
        """Return the close code and the reason for a new socket; None if accepted."""
        if self.draining:
            reason, code, words = "leaving", RECONNECT, "The server is stopping."
        elif self.overloaded:
            reason, code, words = "lag", OVERLOADED, "The server is overloaded."
        elif len(self.hub.sockets) + self._held_back.total() >= self.socket_limit:
            reason, code = "sockets", OVERLOADED
            words = f"The server has its {self.socket_limit:,} sockets."
        elif self._held_back[network] > self.socket_limit // WAITING_SHARE:
            reason, code = "floods", TOO_FAST
            words = "Too many sockets of this network wait after a flood."
        else:
            return None
        self.refused[reason] += 1
        return code, words

    def count_flood(self, network: str) -> None:
        """Hold back the next handshakes of a network."""
        self._floods.of(network).drain(FLOOD_WAIT_S)

    def flood_wait_s(self, network: str) -> float:
        """Return how long a handshake of a network has to wait."""
        return FLOOD_WAIT_S - self._floods.of(network).left

    async def hold_back(
        self, network: str, seconds: float, disconnect: Awaitable[object]
    ) -> bool:
        """Wait before a handshake is accepted; return whether its client has left.

        `disconnect` receives the client's next message: before the handshake is
        accepted, there is no other.
        """
        self._held_back[network] += 1
        try:
            async with asyncio.timeout(seconds):
                await disconnect
            return True
        except TimeoutError:
            return False
        finally:
            self._held_back[network] -= 1
            if not self._held_back[network]:
                del self._held_back[network]

    async def _measure_often(self) -> None:
        loop = self.hub.loop
        while True:
            due = loop.time() + STEP_S
            await asyncio.sleep(STEP_S)
            self.record_lag(max(loop.time() - due, self.hub.pop_lateness()))

    def record_lag(self, late: float) -> None:
        """Record the current lag of the process in seconds."""
        self.lag = min(max(late, self.lag * DECAY), MAX_LAG_S)
        if self.lag * 1000 < settings.SPECTATE_LAG_LIMIT:
            self._late_since = None
        elif late * 1000 >= settings.SPECTATE_LAG_LIMIT:
            self._late_at = self.hub.loop.time()
            self._late_since = self._late_since or self._late_at

    async def close(self) -> None:
        """Stop checking the loop."""
        self._task.cancel()
        await asyncio.wait([self._task])
