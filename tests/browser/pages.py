"""What the tests do with a live page, and runners who publish to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bench import process
from tests.faults.proxy import Line
from tests.servers import Server

# How long a page may take on a busy machine. Milliseconds.
PATIENCE = 20_000


class LivePage:
    """A page of ours in the browser; keeps the errors of its console."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def open(self, path: str) -> None:
        """Go to a live page and wait until it is connected."""
        self.page.goto(path)
        self.wait_for_connection()

    def wait_for_connection(self) -> None:
        self.page.wait_for_selector("#connection[data-state=open]")

    def row(self, code: str, state: str | None = None) -> Locator:
        """A runner's row in the list, in a state."""
        wanted = f'[data-runner="{code}"]'
        return self.page.locator(
            wanted if state is None else f'{wanted}[data-state="{state}"]'
        )

    def star(self, code: str) -> Locator:
        return self.row(code).locator(".star")

    def markers(self, source: str = "crowd") -> dict[str, list[float]]:
        """Where the markers of a source of the map are: [lng, lat] by code."""
        found: dict[str, list[float]] = self.page.evaluate(
            """async (source) => {
                 const map = globalThis.spectate.map();
                 if (!map) return {};
                 const data = await map.getSource(source).getData();
                 return Object.fromEntries(data.features.map(
                   ({properties, geometry}) => [properties.code, geometry.coordinates]
                 ));
               }""",
            source,
        )
        return found

    def wait_for_marker(
        self, code: str, place: list[float], source: str = "crowd"
    ) -> None:
        """Wait until a runner's marker stands at [lng, lat]."""
        eventually(lambda: near(self.markers(source).get(code), place))


@contextlib.contextmanager
def publishing(server: Server, token: str) -> Iterator[Publisher]:
    """A runner's phone: a real websocket that publishes with a token."""
    with connect(
        f"{server.ws_url}/ws/",
        subprotocols=[Subprotocol("spectate.v1")],
        additional_headers={"Authorization": f"Bearer {token}"},
    ) as connection:
        yield Publisher(connection)


class Publisher:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def publish(self, lng: float, lat: float, **fix: float) -> None:
        """Publish a fix of now and wait until it is stored."""
        fixes = [{"t": int(time.time() * 1000), "lat": lat, "lng": lng, **fix}]
        self.connection.send(json.dumps({"type": "publish", "id": 1, "fixes": fixes}))
        while self._hear()["type"] != "ack":
            pass

    def _hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.connection.recv(PATIENCE / 1000))
        assert message["type"] != "error", message
        return message


class Way:
    """A way to a server that can be cut; it has an address of its own."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self.url = f"http://127.0.0.1:{line.port}"
        self._line = line
        self._loop = loop

    def cut(self, seconds: float) -> Future[None]:
        """Begin to let nothing through for so long; what is open is reset."""
        cut = self._line.cut(seconds, silently=False)
        return asyncio.run_coroutine_threadsafe(cut, self._loop)


@contextlib.contextmanager
def way_to(server: Server) -> Iterator[Way]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    line = asyncio.run_coroutine_threadsafe(Line([server.port]).open(), loop).result(5)
    try:
        yield Way(line, loop)
    finally:
        asyncio.run_coroutine_threadsafe(line.close(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@contextlib.contextmanager
def browser_asleep() -> Iterator[None]:
    """Have the browser stand still with all its processes, as when a lid is shut."""
    browser = [
        pid
        for pid in process.family(os.getpid())
        if Path(f"/proc/{pid}/comm").read_text().startswith("chrom")
    ]
    assert browser
    try:
        for pid in browser:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in browser:
            os.kill(pid, signal.SIGCONT)


def make_runner(server: Server, code: str, name: str) -> str:
    """Make a public runner; return their token."""
    made = json.loads(server.manage("create_runner", code, "--name", name))
    return str(made["token"])


def near(place: list[float] | None, wanted: list[float]) -> bool:
    return place is not None and all(
        abs(a - b) < 2e-5 for a, b in zip(place, wanted, strict=True)
    )


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not holds():
        assert time.monotonic() < deadline, "It did not come true in time."
        time.sleep(0.1)
