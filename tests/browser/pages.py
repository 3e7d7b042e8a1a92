"""A live page in the browser, and runners who publish to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management import call_command
from django.test import override_settings
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    sync_playwright,
)
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bench import process
from tests.factories.people import make_phone, make_session
from tests.faults.proxy import Line
from tests.made_once import made_once
from tests.servers import Server
from tests.services import CHROMIUM_FLAGS, chromium_path
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    # Scripts import this module before `tests.factories` sets Django up.
    from django.contrib.auth.models import User

# A slower page hangs.
PATIENCE_MS = 1000 * PATIENCE_S

NO_WEBGL = """
const real = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith("webgl") ? null : real.call(this, kind, ...rest);
};
"""


class LivePage:
    """A page in the browser; records the errors of its console."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._record_error)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _record_error(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def open(self, path: str) -> None:
        """Open a live page and wait until it is connected."""
        self.page.goto(path)
        self.wait_for_connection()

    def wait_for_connection(self) -> None:
        self.page.wait_for_selector("#connection[data-state=open]")

    def row(self, code: str, state: str | None = None) -> Locator:
        """Return a runner's row in the list, with a state if given."""
        wanted = f'[data-runner="{code}"]'
        return self.page.locator(
            wanted if state is None else f'{wanted}[data-state="{state}"]'
        )

    def star(self, code: str) -> Locator:
        return self.row(code).locator(".star")

    def markers(self, source: str = "crowd") -> dict[str, list[float]]:
        """Return the marker positions of a source of the map: [lng, lat] by code."""
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
        """Wait until a runner's marker is at [lng, lat]."""
        eventually(lambda: is_near(self.markers(source).get(code), place))


def collect(folder: Path) -> None:
    """Collect static files, but compress only a few: this takes most of the time."""
    types = ["css", "js", "json", "mjs", "svg", "txt", "webmanifest"]
    with override_settings(
        STATIC_ROOT=folder, WHITENOISE_SKIP_COMPRESS_EXTENSIONS=types
    ):
        call_command("collectstatic", interactive=False, verbosity=0)


@contextlib.contextmanager
def chromium_browser() -> Iterator[Browser]:
    """Start a browser, also in scripts that are run by hand."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=CHROMIUM_FLAGS
        )
        yield browser
        browser.close()


def page_server(**env: str) -> Server:
    """Return a server whose pages have their static files, collected once per run."""
    return Server(
        "uvicorn",
        DEBUG="1",
        DJANGO_SETTINGS_MODULE="tests.browser.settings",
        STATIC_ROOT=str(made_once("static", collect)),
        **env,
    )


@contextlib.contextmanager
def publishing(server: Server, token: str) -> Iterator[Publisher]:
    """Connect a runner's phone, which publishes with a token."""
    with connect(
        f"{server.ws_url}/ws/",
        subprotocols=[Subprotocol("spectate.v1")],
        additional_headers={"Authorization": f"Bearer {token}"},
    ) as connection:
        yield Publisher(connection)


def new_phone(
    server: Server, code: str, name: str
) -> contextlib.AbstractContextManager[Publisher]:
    """Make a runner and connect their phone."""
    return publishing(server, server.database(make_phone, code, name))


class Publisher:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def publish(self, lng: float, lat: float, **fix: float) -> None:
        """Publish a fix with the current time and wait for its ack."""
        fixes = [{"t": int(time.time() * 1000), "lat": lat, "lng": lng, **fix}]
        self.connection.send(json.dumps({"type": "publish", "id": 1, "fixes": fixes}))
        while self._receive()["type"] != "ack":
            pass

    @contextlib.contextmanager
    def stay(self, lng: float, lat: float, **fix: float) -> Iterator[None]:
        """Publish the same position every second, so that it stays live."""
        over = threading.Event()

        def publish_often() -> None:
            while not over.is_set():
                self.publish(lng, lat, **fix)
                over.wait(1)

        with ThreadPoolExecutor(1) as thread:
            staying = thread.submit(publish_often)
            try:
                yield
            finally:
                over.set()
            staying.result()

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.connection.recv(PATIENCE_S))
        assert message["type"] != "error", message
        return message


class Proxy:
    """A proxy to a server, with an address of its own, that can be cut."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self.url = f"http://127.0.0.1:{line.port}"
        self._line = line
        self._loop = loop

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Reset open connections and block new ones."""
        cut = self._line.cut(math.inf, silently=False)
        cutting = asyncio.run_coroutine_threadsafe(cut, self._loop)
        try:
            yield
        finally:
            cutting.cancel()


@contextlib.contextmanager
def proxy_to(server: Server) -> Iterator[Proxy]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    line = asyncio.run_coroutine_threadsafe(Line([server.port]).open(), loop).result(
        PATIENCE_S
    )
    try:
        yield Proxy(line, loop)
    finally:
        asyncio.run_coroutine_threadsafe(line.close(), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()


@contextlib.contextmanager
def browser_asleep() -> Iterator[None]:
    """Stop all processes of the browser, as when a laptop is closed."""
    browser = [pid for pid in process.family(os.getpid()) if is_chromium(pid)]
    assert browser
    try:
        signal_all(browser, signal.SIGSTOP)
        yield
    finally:
        signal_all(browser, signal.SIGCONT)


def is_chromium(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("chrom")
    return False


def signal_all(pids: list[int], signum: signal.Signals) -> None:
    """Send a signal to processes; those that have ended are ignored."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


def sign_in(context: BrowserContext, server: Server, user: User) -> None:
    """Sign a user in without the sign-in page."""
    session = server.database(make_session, user)
    context.add_cookies([{"name": "sessionid", "value": session, "url": server.url}])


def without_map(context: BrowserContext) -> None:
    """Disable the map, which takes most of the time of tests that do not need it."""
    context.add_init_script(NO_WEBGL)


def is_near(place: list[float] | None, wanted: list[float]) -> bool:
    return place is not None and all(
        abs(a - b) < 2e-5 for a, b in zip(place, wanted, strict=True)
    )


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds; check pages less often than `wait_until` does."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"Not within {PATIENCE_S:.0f} s."
        time.sleep(0.1)
