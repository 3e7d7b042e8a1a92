"""A slow line between a browser and a server: bytes a second and round trips."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Line:
    """What all connections through it share. Seconds, bytes, bytes a second."""

    down: float
    up: float
    round_trip: float
    port: int = 0
    received: int = 0
    _free: dict[str, float] = field(default_factory=dict)

    def arrival(self, way: str, size: int) -> float:
        """Return when so many bytes, sent now, are at the other end."""
        now = asyncio.get_running_loop().time()
        rate = self.down if way == "down" else self.up
        start = max(now, self._free.get(way, 0.0))
        self._free[way] = start + size / rate
        return self._free[way] + self.round_trip / 2

    async def pump(
        self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def deliver() -> None:
            while True:
                at, data = await waiting.get()
                await asyncio.sleep(at - asyncio.get_running_loop().time())
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            writer.close()

        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            while data := await reader.read(4096):
                if way == "down":
                    self.received += len(data)
                await waiting.put((self.arrival(way, len(data)), data))
            await waiting.put((self.arrival(way, 0), b""))


@contextlib.contextmanager
def slow_line(
    port: int, *, down: float, up: float, round_trip: float
) -> Iterator[Line]:
    """Lead to a port of this machine, slowly; all connections share the line."""
    line = Line(down, up, round_trip)
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip)  # the handshake of TCP
        there, back = await asyncio.open_connection("127.0.0.1", port)
        # Also when the test is over: nobody asks this task how it ended.
        with contextlib.suppress(ExceptionGroup, OSError, asyncio.CancelledError):
            await asyncio.gather(
                line.pump("up", reader, back), line.pump("down", there, writer)
            )

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        line.port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(running)
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()

    running = loop.create_task(run())
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield line
    finally:
        loop.call_soon_threadsafe(running.cancel)
        thread.join(timeout=5)
