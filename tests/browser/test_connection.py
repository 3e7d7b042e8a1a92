"""The live page with a lost connection, no websocket or a wrong clock."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from bench import process
from tests.browser.conftest import VIEWPORT
from tests.browser.pages import (
    LivePage,
    Proxy,
    browser_asleep,
    eventually,
    new_phone,
    proxy_to,
    publishing,
    signal_all,
    without_map,
)
from tests.factories.people import make_phone
from tests.servers import Server


def test_the_page_reconnects_after_a_restart(
    browser: Browser, web_server: Server
) -> None:
    token = web_server.database(make_phone, "mia", "Mia")
    context = browser.new_context(base_url=web_server.url, viewport=VIEWPORT)
    page = LivePage(context.new_page())
    with publishing(web_server, token) as mia:
        mia.publish(-6.3, 53.33)
    page.open("/")
    page.row("mia").wait_for()
    web_server.stop()
    page.page.wait_for_selector("#connection[data-state=waiting]")
    expect(page.page.locator("#connection")).to_contain_text("What you see is from")
    expect(page.row("mia")).to_be_visible()
    web_server.start()
    page.wait_for_connection()
    with publishing(web_server, token) as mia:
        mia.publish(-6.2, 53.34)
        page.wait_for_marker("mia", [-6.2, 53.34])
    context.close()


def test_a_server_that_falls_silent_is_noticed_within_12_s(
    page: LivePage, context: BrowserContext, web_server: Server
) -> None:
    without_map(context)
    page.page.clock.install()
    page.open("/")
    servers = process.family(web_server.pid)
    try:
        signal_all(servers, signal.SIGSTOP)
        # From here on the page's clock moves only in this test.
        page.page.clock.pause_at(time.time() + 1)
        # Frames that were on the way begin the wait anew.
        state: str | None = "open"
        for _ in range(30):
            page.page.clock.run_for(1_000)
            state = page.page.get_attribute("#connection", "data-state")
            if state != "open":
                break
        assert state == "waiting"
    finally:
        signal_all(servers, signal.SIGCONT)


def test_the_page_polls_without_a_websocket(
    page: LivePage, context: BrowserContext, web_server: Server
) -> None:
    with new_phone(web_server, "ora", "Ora") as ora:
        # The page behaves as behind a proxy without websockets, with a clock ten
        # minutes slow.
        context.add_init_script(
            """globalThis.WebSocket = class extends EventTarget {
                 constructor() {
                   super();
                   setTimeout(() => this.onclose({code: 1006}));
                 }
                 close() {}
               };
               const now = Date.now;
               Date.now = () => now() - 600_000;"""
        )
        with ora.stay(-6.3, 53.5):
            page.page.goto("/runners/ora/")
            page.page.wait_for_selector("#connection[data-state=polling]")
            expect(page.page.locator("#connection")).to_contain_text(
                "updating every 5 s"
            )
            page.row("ora", "live").wait_for()
        with ora.stay(-6.2, 53.5):
            page.wait_for_marker("ora", [-6.2, 53.5], "followed")
            expect(page.row("ora").locator(".words")).to_contain_text("Live, seen")


# Records a runner's marker every 100 ms, with the time of their fix.
RECORD_MARKER = """(code) => {
  globalThis.watched = [];
  setInterval(async () => {
    const {store, map} = globalThis.spectate;
    const {features} = await map().getSource("followed").getData();
    const disc = features.find(({properties}) => properties.code === code);
    watched.push([store.runners.get(code).fix.t, disc.geometry.coordinates[0]]);
  }, 100);
}"""


@contextlib.contextmanager
def disconnected(proxy: Proxy, page: LivePage) -> Iterator[None]:
    """Cut the connection to the server; the page shows it."""
    with proxy.cut():
        shown = page.page.locator("#connection")
        expect(shown).not_to_have_attribute("data-state", "open")
        expect(shown).to_contain_text("What you see is from")
        yield


@contextlib.contextmanager
def asleep(proxy: Proxy, _page: LivePage) -> Iterator[None]:
    """Stop all processes of the browser, and cut its connection."""
    with browser_asleep(), proxy.cut():
        yield


@pytest.mark.parametrize(
    ("code", "offline"), [("pia", disconnected), ("asleep", asleep)]
)
def test_the_page_catches_up_after_a_cut_without_jumps(
    browser: Browser,
    web_server: Server,
    code: str,
    offline: Callable[[Proxy, LivePage], AbstractContextManager[None]],
) -> None:
    with proxy_to(web_server) as proxy, new_phone(web_server, code, "Pia") as pia:
        context = browser.new_context(base_url=proxy.url, viewport=VIEWPORT)
        page = LivePage(context.new_page())
        sent = [-6.3]
        start = int(time.time() * 1000) - 10_000
        pia.publish(-6.3, 53.6, t=start)
        page.open(f"/runners/{code}/")
        page.wait_for_marker(code, [-6.3, 53.6], "followed")
        page.page.evaluate(RECORD_MARKER, code)
        with offline(proxy, page):
            for seconds in range(1, 5):
                sent.append(round(sent[-1] + 5e-5, 5))
                pia.publish(sent[-1], 53.6, t=start + 1000 * seconds)
        page.wait_for_marker(code, [sent[-1], 53.6], "followed")
        page.wait_for_connection()
        # The trail includes this part of her run too.
        trail = (
            f"() => globalThis.spectate.store.runners.get('{code}').trail"
            ".map(([, lng]) => lng)"
        )
        eventually(lambda: page.page.evaluate(trail) == sent)
        times, places = zip(
            *page.page.evaluate("() => globalThis.watched"), strict=True
        )
        assert list(times) == sorted(times)
        # She runs east.
        assert list(places) == sorted(places)
        context.close()


def test_the_clock_of_the_browser_does_not_matter(
    page: LivePage, context: BrowserContext, web_server: Server
) -> None:
    # The clock is ten minutes fast. In the test of polling it is slow.
    context.add_init_script(
        """const now = Date.now;
           Date.now = () => now() + 600_000;"""
    )
    with new_phone(web_server, "sid", "Sid") as sid:
        state = """async () => {
          const source = globalThis.spectate.map().getSource("followed");
          return (await source.getData()).features[0]?.properties.state;
        }"""
        with sid.stay(-6.3, 53.9):
            page.open("/runners/sid/")
            page.row("sid", "live").wait_for()
            words = page.row("sid").locator(".words")
            expect(words).to_have_text(re.compile(r"^Live, seen 1?\d s ago$"))
            eventually(lambda: page.page.evaluate(state) == "live")
