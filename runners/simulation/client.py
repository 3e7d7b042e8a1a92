"""A runner's phone: the client package, with a simulated motion and coverage."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from msgspec.structs import asdict

from clients.python.spectate_client import Ended, Publisher
from runners.simulation.motion import Motion
from runners.units.clock import now_ms

# Limits of the time between two fixes.
INTERVAL_S = (1.0, 2.0)
# Gaps in the coverage: the mean time between two, and the duration of each.
GAP_EVERY_S = 240.0
GAP_S = (8.0, 40.0)
# The same for a phone whose fixes are mostly late.
LATE_EVERY_S = 20.0
LATE_GAP_S = (45.0, 90.0)
# The longest wait when only the last acks are missing.
LAST_PAUSE_S = 0.5


@dataclass
class Tally:
    """The totals of all clients of a simulation, in fixes unless noted."""

    connects: int = 0  # Sockets opened since the start.
    sent: int = 0  # fixes, including repeated ones
    acked: int = 0
    reconnects: int = 0
    turned_away: int = 0  # Clients that will not reconnect.
    # Errors by the server's code.
    refused: Counter[str] = field(default_factory=Counter)
    problem: str = ""  # The last error, or empty after the client has connected again.


class Client(Publisher):
    """Records fixes of a motion and publishes them, with gaps in the coverage."""

    def __init__(
        self,
        motion: Motion,
        *,
        url: str,
        token: str,
        tally: Tally,
        random: Random,
        is_late: bool = False,
    ) -> None:
        super().__init__(
            url,
            token,
            sleep=self._pause,
            random=random.random,
            compression=None,
            proxy=None,
        )
        self.on_refused = self._count_refused
        self.on_failed = self._record_failure
        self._motion, self._tally, self._rng = motion, tally, random
        self._is_late = is_late
        self._gap_until = 0.0  # time of the loop's clock
        self._stopped = asyncio.Event()  # No more fixes are recorded.

    @property
    def waiting(self) -> int:
        """Return the number of fixes that will be sent, or sent again."""
        return 0 if self.ended else len(self.pending)

    @property
    def connected(self) -> bool:
        return self._socket is not None

    async def run(self) -> None:
        """Run until the motion has finished and every fix is acked, or cancelled."""
        async with self:
            try:
                await self._record()
                self.stop_recording()
                await self.flush()
            except Ended as ended:
                self._tally.turned_away += 1
                self._tally.problem = str(ended)

    def stop_recording(self) -> None:
        """Stop recording; `run` ends when the last fix is acked."""
        self._stopped.set()
        self._gap_until = 0
        self._wake.set()

    async def _record(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while not self._motion.finished:
            await self._until_stopped(self._rng.uniform(*INTERVAL_S))
            if self._stopped.is_set():
                break
            now = loop.time()
            self.add(asdict(self._motion.step(now - last, t=now_ms())))
            chance = (now - last) / (LATE_EVERY_S if self._is_late else GAP_EVERY_S)
            if now > self._gap_until and self._rng.random() < chance:
                self._lose_coverage()
            last = now

    def _lose_coverage(self) -> None:
        """Send nothing for a while, and half of the time lose the socket too."""
        seconds = self._rng.uniform(*(LATE_GAP_S if self._is_late else GAP_S))
        loop = asyncio.get_running_loop()
        self._gap_until = loop.time() + seconds
        loop.call_later(seconds, self._wake.set)
        if self._socket is not None and self._rng.random() < 0.5:
            self._socket.transport.abort()

    async def _until_stopped(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    async def _pause(self, seconds: float) -> None:
        """Wait before an attempt; briefly if recording has ended."""
        gap = self._gap_until - asyncio.get_running_loop().time()
        await self._until_stopped(max(seconds, gap))
        if self._stopped.is_set():
            await asyncio.sleep(min(seconds, LAST_PAUSE_S))

    # -- the connection, counted

    def _opened(self) -> None:
        super()._opened()
        self._tally.connects += 1

    def _outgoing(self) -> Iterator[dict[str, Any]]:
        if asyncio.get_running_loop().time() < self._gap_until:
            return
        for message in super()._outgoing():
            self._tally.sent += len(message["fixes"])
            yield message

    def _received(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "welcome":
                self._tally.problem = ""
            case "ack":
                self._tally.acked += message["stored"]
            case "error":
                self._tally.problem = f"{message['code']}: {message['detail']}"
        super()._received(message)

    def _count_refused(self, code: str, detail: str, fixes: list[Any]) -> None:
        self._tally.refused[code] += len(fixes)

    def _record_failure(self, error: Exception) -> None:
        self._tally.problem = f"cannot connect: {str(error) or type(error).__name__}"

    def _wait_after(self, code: int) -> float:
        seconds = super()._wait_after(code)
        self._tally.reconnects += 1
        return seconds
