"""A client package under test, in a program that reads commands and prints events.

Both are JSON objects, one per line. Commands name a `client` and what to `do`:

    publish   make a publisher and start it: `url`, `token`, `capacity`
    follow    make a spectator and start it: `url`, `follow`
    add       queue the `fixes`, report `added` with how many were accepted
    flush     report `flushed` once every fix is acked
    stop      report `stopped` with the fixes without an ack as `pending`
    elapse    end all waits

Events name the `client` and the `event`, with `args`: those of each callback, and for
`wait` the milliseconds that the client wants to wait.
The client's clock is virtual: a wait ends on `elapse`. Its random number is always 0.5.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Self

from clients.conformance.patience import patient

Event = dict[str, Any]
MAX_LINE_BYTES = 1 << 20


class Program:
    """The process of a client package."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._events: defaultdict[str, asyncio.Queue[Event]] = defaultdict(
            asyncio.Queue
        )

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, limit=MAX_LINE_BYTES
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """End its input, upon which it exits."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await patient(self._process.wait())
        except TimeoutError:
            self._process.kill()
            raise
        await self._reader

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event: Event = json.loads(line)
            self._events[event["client"]].put_nowait(event)

    def write(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def event(self, client: str) -> Event:
        return await patient(self._events[client].get())


class ClientUnderTest:
    """One client in a program."""

    def __init__(self, program: Program, name: str, **command: Any) -> None:
        self._program, self._name = program, name
        self.do(**command)

    def do(self, do: str, **fields: Any) -> None:
        self._program.write({"client": self._name, "do": do, **fields})

    async def add(self, *fixes: dict[str, Any]) -> int:
        """Queue fixes; return how many were accepted."""
        self.do("add", fixes=fixes)
        (accepted,) = await self.event("added")
        assert isinstance(accepted, int)
        return accepted

    async def events_until(self, kind: str) -> list[Event]:
        """Return the events up to the next one of a kind, that one included."""
        events = [await self._program.event(self._name)]
        while events[-1]["event"] != kind:
            events.append(await self._program.event(self._name))
        return events

    async def event(self, kind: str) -> Any:
        """Return the arguments of the next event of a kind; skip others."""
        return (await self.events_until(kind))[-1]["args"]

    async def waits(self) -> float:
        """Return the milliseconds of its next wait, which goes on."""
        (delay,) = await self.event("wait")
        return float(delay)

    def elapse(self) -> None:
        self.do("elapse")

    async def skip_wait(self) -> float:
        """End its next wait; return the milliseconds."""
        delay = await self.waits()
        self.elapse()
        return delay

    async def flush(self) -> None:
        """Wait until every fix is acked."""
        self.do("flush")
        await self.event("flushed")

    async def stop(self) -> list[dict[str, Any]]:
        """Stop it; return its fixes without an ack."""
        self.do("stop")
        (pending,) = await self.event("stopped")
        assert isinstance(pending, list)
        return pending
