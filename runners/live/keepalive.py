"""Pings the websockets of an event loop, and ends those that do not answer."""

from __future__ import annotations

import asyncio
import math
import os
from functools import lru_cache
from typing import Protocol

# Sockets that are due in the same step share a timer and the content of their ping.
STEP_S = 0.25
# How often it is checked whether a socket answers that is later than the next ping.
LATE_STEPS = 4


class PingedSocket(Protocol):
    """What is used of uvicorn's protocol, and two attributes for this module."""

    transport: asyncio.Transport
    close_sent: bool
    # The content of a ping without an answer yet.
    pending_ping_payload: bytes | None
    # When the interval before the next ping began, in steps of the loop's time.
    ping_step: int
    # The sockets that are due in the same step.
    ping_group: set[PingedSocket]

    def keepalive_timeout(self) -> None: ...


class Keepalive:
    """Pings all sockets with one timer; uvicorn has two timers per socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interval_s: float,
        timeout_s: float | None,
    ) -> None:
        self._loop = loop
        self._interval = steps_of(interval_s)
        # Without one, pings do not wait for the answers to earlier ones.
        self._timeout = None if timeout_s is None else steps_of(timeout_s)
        # How long after a ping its answer is looked for.
        self._first_check = min(self._interval, self._timeout or self._interval)
        self._groups: dict[int, set[PingedSocket]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, socket: PingedSocket) -> None:
        """Ping a socket until it is removed from its group, or closed."""
        socket.ping_step = step = math.ceil(self._loop.time() / STEP_S)
        self._put(socket, step + self._interval)
        if self._timer is None:
            self._timer = self._loop.call_at(step * STEP_S, self._ping_due)

    def _put(self, socket: PingedSocket, step: int) -> None:
        if (group := self._groups.get(step)) is None:
            group = self._groups[step] = set()
        group.add(socket)
        socket.ping_group = group

    def _ping_due(self) -> None:
        # Timers may be early by half a millisecond.
        now = round(self._loop.time() / STEP_S)
        # Before anything that could fail, and sockets are removed one by one, so that
        # an error of one does not end the pings of the others.
        self._timer = self._loop.call_at((now + 1) * STEP_S, self._ping_due)
        due = [step for step in self._groups if step <= now]
        payload = os.urandom(4) if due else b""
        for step in due:
            group = self._groups[step]
            while group:
                self._check(group.pop(), payload, now)
            del self._groups[step]
        if not self._groups:
            self._timer.cancel()
            self._timer = None

    def _check(self, socket: PingedSocket, payload: bytes, now: int) -> None:
        """Ping a socket, or end it if it is too late."""
        if socket.close_sent or socket.transport.is_closing():
            return
        waited = now - socket.ping_step
        if socket.pending_ping_payload is None or self._timeout is None:
            if waited < self._interval:
                self._put(socket, socket.ping_step + self._interval)
                return
            socket.pending_ping_payload = payload
            socket.ping_step = now
            socket.transport.write(b"\x89\x04" + payload)
            self._put(socket, now + self._first_check)
        elif waited >= self._timeout:
            socket.keepalive_timeout()
        else:
            self._put(socket, now + min(self._timeout - waited, LATE_STEPS))


def steps_of(seconds: float) -> int:
    """Return the nearest number of steps, at least one."""
    return max(1, round(seconds / STEP_S))


@lru_cache(2)
def keepalive_of(
    loop: asyncio.AbstractEventLoop, interval_s: float, timeout_s: float | None
) -> Keepalive:
    """Return the one of an event loop's sockets with these times."""
    return Keepalive(loop, interval_s, timeout_s)
