"""A slow network between a browser and a server: limited rate, and latency."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

# Bytes that a connection sends before the next one may send.
PIECE_BYTES = 1_500
# Limit of a connection's queued bytes, like the window of TCP.
WINDOW_BYTES = 64 * 1024


class Direction:
    """One direction of the network: its connections take turns, piece by piece."""

    def __init__(self, rate: float, delay: float) -> None:
        self.rate = rate
        self.delay = delay
        self.bytes = 0
        self._waiting: dict[asyncio.StreamWriter, bytearray] = {}
        self._has_data = asyncio.Event()

    async def send(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Queue bytes; return when this connection may send more."""
        waiting = self._waiting.setdefault(writer, bytearray())
        waiting += data
        self._has_data.set()
        while len(self._waiting.get(writer, b"")) > WINDOW_BYTES:
            await asyncio.sleep(0.01)

    async def drained(self, writer: asyncio.StreamWriter) -> None:
        """Return when all bytes of a connection have arrived."""
        while writer in self._waiting:
            await asyncio.sleep(0.01)
        await asyncio.sleep(self.delay + 0.01)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        free = loop.time()
        while True:
            self._has_data.clear()
            if not self._waiting:
                await self._has_data.wait()
                free = max(free, loop.time())
            for writer, waiting in list(self._waiting.items()):
                piece = bytes(waiting[:PIECE_BYTES])
                del waiting[:PIECE_BYTES]
                if not waiting:
                    del self._waiting[writer]
                self.bytes += len(piece)
                free += len(piece) / self.rate
                loop.call_at(free + self.delay, _write, writer, piece)
            # Send several pieces per wait, because timers are not exact.
            if (ahead := free - loop.time()) > 0.01:
                await asyncio.sleep(ahead)


def _write(writer: asyncio.StreamWriter, piece: bytes) -> None:
    if not writer.is_closing():
        writer.write(piece)


@dataclass
class SlowProxy:
    """The port of the proxy on this machine, and its two directions."""

    port: int
    down: Direction
    up: Direction

    @property
    def received(self) -> int:
        return self.down.bytes


async def _pump(
    direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while data := await reader.read(4096):
        await direction.send(data, writer)
    await direction.drained(writer)
    writer.close()


@contextlib.contextmanager
def slow_proxy(
    port: int, *, down: float, up: float, round_trip: float
) -> Iterator[SlowProxy]:
    """Forward a port of this machine slowly; all connections share the network.

    `down` and `up` in bytes per second, `round_trip` in seconds. A connection takes a
    round trip to open.
    """
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    proxy = SlowProxy(0, Direction(down, round_trip / 2), Direction(up, round_trip / 2))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip)  # The delay of TCP's handshake.
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        # Exceptions at the end of the test are ignored too: no code awaits this task.
        with contextlib.suppress(ExceptionGroup, OSError, asyncio.CancelledError):
            await asyncio.gather(
                _pump(proxy.up, reader, server_writer),
                _pump(proxy.down, server_reader, writer),
            )

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.gather(server.serve_forever(), proxy.down.run(), proxy.up.run())

    def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(running)
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.close()

    running = loop.create_task(run())
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(running.cancel)
        thread.join(timeout=5)
