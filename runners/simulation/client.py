"""A native client that keeps every fix until the server has acked it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import ssl
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    WebSocketException,
)
from websockets.typing import Subprotocol

from runners.simulation.motion import Fix, Motion

SUBPROTOCOL = Subprotocol("spectate.v1")
# Limits of the fixes per message, and of the fixes without an ack. Acks are late while
# the database is unavailable, but live positions must still be sent.
BATCH = 500
IN_FLIGHT = 4_000
# Limits of the time between two fixes.
INTERVAL_S = (1.0, 2.0)
# Gaps in the coverage: the mean time between two, and the duration of each.
GAP_EVERY_S = 240.0
GAP_S = (8.0, 40.0)
# The same for a phone whose fixes are mostly late.
LATE_EVERY_S = 20.0
LATE_GAP_S = (45.0, 90.0)
# Full jitter: the wait is a random part of the first delay, which doubles at each
# failure up to the last.
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
# The longest delay between attempts when only the last acks are missing.
LAST_PAUSE_S = 0.5
# After these close codes a client does not reconnect.
FINAL_CLOSES = {4400, 4401, 4403}
BACK_OFF_CLOSES = {1013, 4429}
# Temporary errors of a publication. All others are final.
PASSING_ERRORS = {"rate.limited", "store.unavailable"}


@dataclass
class Tally:
    """The totals of all clients of a simulation, in fixes unless noted."""

    connected: int = 0  # Open sockets.
    connects: int = 0  # Sockets opened since the start.
    sent: int = 0  # fixes, including repeated ones
    acked: int = 0
    reconnects: int = 0
    turned_away: int = 0  # Clients that will not reconnect.
    # Errors by the server's code.
    refused: Counter[str] = field(default_factory=Counter)
    problem: str = ""  # The last error, or empty after the client has connected again.


class Client:
    """One runner's phone: records fixes, publishes them, reconnects after a loss."""

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
        self._is_late = is_late
        self._motion, self._url, self._token = motion, url, token
        self._tally, self._random = tally, random
        self._pending: deque[Fix] = deque()
        self._in_flight: dict[int, list[Fix]] = {}
        self._next_id = 1
        self._wake = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._gap_until = 0.0  # time of the loop's clock
        self._failures = 0
        self._not_before = 0.0  # Seconds, as requested by the server.
        self._ended = asyncio.Event()  # No more fixes are recorded.

    @property
    def waiting(self) -> int:
        """Return the number of fixes without an ack."""
        return len(self._pending) + self._unacked

    @property
    def _unacked(self) -> int:
        """Return the number of sent fixes without an ack."""
        return sum(map(len, self._in_flight.values()))

    @property
    def done(self) -> bool:
        return self._ended.is_set() and not self.waiting

    async def run(self) -> None:
        """Run until the motion has finished and every fix is acked, or cancelled."""
        recorder = asyncio.create_task(self._record())
        try:
            while not self.done:
                await self._stay_connected()
                if not self.done:
                    await self._pause()
        except _TurnedAwayError:
            self._tally.turned_away += 1
            self._pending.clear()
        finally:
            recorder.cancel()

    def stop_recording(self) -> None:
        """Stop recording; `run` ends when the last fix is acked."""
        self._ended.set()
        self._gap_until = 0
        self._wake.set()

    async def _record(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while not self._motion.finished:
            await asyncio.sleep(self._random.uniform(*INTERVAL_S))
            if self._ended.is_set():
                break
            now = loop.time()
            self._pending.append(
                self._motion.step(now - last, t=time.time_ns() // 1_000_000)
            )
            chance = (now - last) / (LATE_EVERY_S if self._is_late else GAP_EVERY_S)
            if now > self._gap_until and self._random.random() < chance:
                self._lose_coverage()
            last = now
            self._wake.set()
        self.stop_recording()

    def _lose_coverage(self) -> None:
        """Send nothing for a while, and half of the time lose the socket too."""
        gap = LATE_GAP_S if self._is_late else GAP_S
        self._send_nothing_for(self._random.uniform(*gap))
        if self._socket is not None and self._random.random() < 0.5:
            self._socket.transport.abort()

    def _send_nothing_for(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._gap_until = loop.time() + seconds
        loop.call_later(seconds, self._wake.set)

    async def _stay_connected(self) -> None:
        """Connect and publish until the socket is closed or nothing is left to do."""
        try:
            async with connect(
                self._url,
                subprotocols=[SUBPROTOCOL],
                additional_headers={"Authorization": f"Bearer {self._token}"},
                compression=None,
                proxy=None,
                ssl=_trust() if self._url.startswith("wss:") else None,
                open_timeout=10,
                close_timeout=2,
            ) as socket:
                await self._talk(socket)
        except ConnectionClosed as closed:
            self._record_close(closed)
        except InvalidStatus as refusal:
            self._fail(f"the server answers {refusal.response.status_code}")
        except InvalidHandshake as refusal:
            self._fail(f"no websocket there: {refusal}")
        except (OSError, TimeoutError, WebSocketException) as error:
            self._fail(f"cannot connect: {str(error) or type(error).__name__}")

    async def _talk(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._tally.connected += 1
        self._tally.connects += 1
        self._wake.set()
        sender = asyncio.create_task(self._publish(socket))
        try:
            async for message in socket:
                await self._receive(json.loads(message), socket)
            # `async for` ends without an exception after a normal close.
            await socket.recv()
        finally:
            self._socket = None
            self._tally.connected -= 1
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await sender
            # Fixes in flight may be lost, so they go first in the next batch.
            for batch in reversed(self._in_flight.values()):
                self._pending.extendleft(reversed(batch))
            self._in_flight.clear()

    async def _publish(self, socket: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        while not self.done:
            await self._wake.wait()
            self._wake.clear()
            if loop.time() < self._gap_until:
                continue
            while self._pending and self._unacked < IN_FLIGHT:
                count = min(BATCH, len(self._pending))
                batch = [self._pending.popleft() for _ in range(count)]
                id_ = self._next_id
                self._next_id += 1
                self._in_flight[id_] = batch
                self._tally.sent += count
                await socket.send(
                    json.dumps({"type": "publish", "id": id_, "fixes": batch})
                )
        await socket.close()

    async def _receive(self, message: dict[str, Any], socket: ClientConnection) -> None:
        match message.get("type"):
            case "welcome":
                self._failures = 0
                self._tally.problem = ""
            case "ack" if message.get("id") in self._in_flight:
                batch = self._in_flight.pop(message["id"])
                rejected = message.get("rejected", [])
                self._tally.refused.update(code for _, code, _ in rejected)
                self._tally.acked += len(batch) - len(rejected)
                self._wake.set()
            case "error":
                self._record_error(message)
            case "reconnect":
                self._not_before = message.get("after", 0) / 1000
                await socket.close()

    def _record_error(self, error: dict[str, Any]) -> None:
        code = str(error.get("code", "error"))
        self._tally.problem = f"{code}: {error.get('detail', '')}"
        batch = self._in_flight.pop(error.get("id", 0), None)
        if batch is None:
            return
        if code in PASSING_ERRORS:
            self._pending.extendleft(reversed(batch))
            self._send_nothing_for(error.get("after", 1000) / 1000)
        else:
            self._tally.refused[code] += len(batch)
        self._wake.set()

    def _record_close(self, closed: ConnectionClosed) -> None:
        code = closed.rcvd.code if closed.rcvd else 1006
        if code in FINAL_CLOSES:
            if not self._tally.problem:
                self._tally.problem = f"closed with {code}"
            raise _TurnedAwayError
        if code in BACK_OFF_CLOSES:
            self._failures += 2

    def _fail(self, problem: str) -> None:
        self._failures += 1
        self._tally.problem = problem

    async def _pause(self) -> None:
        """Wait before the next attempt to connect; briefly if recording has ended."""
        self._tally.reconnects += 1
        seconds = self._wait()
        if self._ended.is_set():
            await asyncio.sleep(min(seconds, LAST_PAUSE_S))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    def _wait(self) -> float:
        longest = min(FIRST_WAIT_S * 2**self._failures, LONGEST_WAIT_S)
        gap = self._gap_until - asyncio.get_running_loop().time()
        wait = max(self._not_before, gap, 0) + self._random.uniform(0, longest)
        self._not_before = 0
        return wait


class _TurnedAwayError(Exception):
    """The server refuses this client for good."""


@functools.cache
def _trust() -> ssl.SSLContext:
    """Return the certificates that this machine trusts.

    Reading them takes 25 ms: if each of 300 clients did it, none could connect in time.
    """
    return ssl.create_default_context()
