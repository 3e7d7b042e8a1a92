"""The Python package as a program of the suite (program.py describes it)."""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import chain
from threading import Thread
from typing import Any

from clients.python.spectate_client import Ended, Publisher, Spectator


class Client:
    def __init__(self, name: str) -> None:
        self._name = name
        self._client: Any
        self._waits: list[asyncio.Event] = []

    def do(self, command: dict[str, Any]) -> Any:
        return getattr(self, command["do"])(command)

    def publish(self, command: dict[str, Any]) -> None:
        self._client = Publisher(
            command["url"],
            command["token"],
            capacity=command["capacity"],
            sleep=self._sleep,
            random=lambda: 0.5,
        )
        self._client.on_runner = self._callback("runner")
        self._start()

    def follow(self, command: dict[str, Any]) -> None:
        self._client = Spectator(
            command["url"], command["follow"], sleep=self._sleep, random=lambda: 0.5
        )
        self._client.on_moved = self._callback("moved")
        self._client.on_passed = self._callback("passed")
        self._client.on_lost = self._callback("lost")
        self._client.on_gap = self._callback("gap")
        self._client.on_event = self._callback("event")
        self._start()

    def _start(self) -> None:
        self._client.on_ended = self._callback("ended")
        self._client.on_refused = self._callback("refused")
        self._client.start()

    def add(self, command: dict[str, Any]) -> None:
        try:
            accepted = sum(map(self._client.add, command["fixes"]))
        except Ended:
            accepted = 0
        self._report("added", accepted)

    async def flush(self, _: object) -> None:
        await self._client.flush()
        self._report("flushed")

    async def stop(self, _: object) -> None:
        await self._client.stop()
        self._report("stopped", getattr(self._client, "pending", []))

    def elapse(self, _: object) -> None:
        for wait in self._waits:
            wait.set()
        self._waits = []

    async def _sleep(self, seconds: float) -> None:
        self._waits.append(wait := asyncio.Event())
        self._report("wait", 1000 * seconds)
        await wait.wait()

    def _callback(self, event: str) -> Any:
        return lambda *args: self._report(event, *args)

    def _report(self, event: str, *args: Any) -> None:
        print(json.dumps({"client": self._name, "event": event, "args": args}))
        sys.stdout.flush()


async def main() -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    clients: dict[str, Client] = {}
    running = set()

    def read() -> None:
        for line in chain(sys.stdin, [""]):
            loop.call_soon_threadsafe(lines.put_nowait, line)

    Thread(target=read, daemon=True).start()
    while line := await lines.get():
        command = json.loads(line)
        name = command["client"]
        if name not in clients:
            clients[name] = Client(name)
        if asyncio.iscoroutine(work := clients[name].do(command)):
            running.add(asyncio.create_task(work))


asyncio.run(main())
