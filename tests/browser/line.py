"""A slow line between a browser and a server: bytes a second and round trips."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

# What is sent of a connection before it is another's turn. Bytes.
PIECE = 1_500
# What of a connection waits for its turn at most, as a window of TCP does. Bytes.
WINDOW = 64 * 1024


class Way:
    """One direction of the line: its connections take turns, piece by piece."""

    def __init__(self, rate: float, delay: float) -> None:
        self.rate = rate
        self.delay = delay
        self.bytes = 0
        self._waiting: dict[asyncio.StreamWriter, bytearray] = {}
        self._some = asyncio.Event()

    async def send(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Send bytes; returns when there is room for more of this connection."""
        waiting = self._waiting.setdefault(writer, bytearray())
        waiting += data
        self._some.set()
        while len(self._waiting.get(writer, b"")) > WINDOW:
            await asyncio.sleep(0.01)

    async def drained(self, writer: asyncio.StreamWriter) -> None:
        """Return when all of a connection is at the other end."""
        while writer in self._waiting:
            await asyncio.sleep(0.01)
        await asyncio.sleep(self.delay + 0.01)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        free = loop.time()
        while True:
            self._some.clear()
            if not self._waiting:
                await self._some.wait()
                free = max(free, loop.time())
            for writer, waiting in list(self._waiting.items()):
                piece = bytes(waiting[:PIECE])
                del waiting[:PIECE]
                if not waiting:
                    del self._waiting[writer]
                self.bytes += len(piece)
                free += len(piece) / self.rate
                loop.call_at(free + self.delay, _write, writer, piece)
            # Not one piece at a time: timers are not so exact.
            if (ahead := free - loop.time()) > 0.01:
                await asyncio.sleep(ahead)


def _write(writer: asyncio.StreamWriter, piece: bytes) -> None:
    if not writer.is_closing():
        writer.write(piece)


@dataclass
class Line:
    """Where it begins on this machine, and what has come down it."""

    port: int
    down: Way
    up: Way

    @property
    def received(self) -> int:
        return self.down.bytes


async def _pump(
    way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while data := await reader.read(4096):
        await way.send(data, writer)
    await way.drained(writer)
    writer.close()


@contextlib.contextmanager
def slow_line(
    port: int, *, down: float, up: float, round_trip: float
) -> Iterator[Line]:
    """Lead to a port of this machine, slowly; all connections share the line.

    Bytes a second and seconds. A connection takes a round trip to open.
    """
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    line = Line(0, Way(down, round_trip / 2), Way(up, round_trip / 2))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip)  # the handshake of TCP
        there, back = await asyncio.open_connection("127.0.0.1", port)
        # Also when the test is over: nobody asks this task how it ended.
        with contextlib.suppress(ExceptionGroup, OSError, asyncio.CancelledError):
            await asyncio.gather(
                _pump(line.up, reader, back), _pump(line.down, there, writer)
            )

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        line.port = server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.gather(server.serve_forever(), line.down.run(), line.up.run())

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
