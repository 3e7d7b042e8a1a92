from __future__ import annotations

import contextlib
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import pytest
from playwright.sync_api import Browser, BrowserContext, Route, expect

from bench import process
from runners.models import Runner
from runners.preferences.runner_settings import visibility_set
from runners.views.bundle import LIVE_BUNDLE
from tests.browser.conftest import VIEWPORT
from tests.browser.pages import (
    LivePage,
    Proxy,
    Publisher,
    browser_asleep,
    eventually,
    is_near,
    proxy_to,
    publishing,
    signal_all,
    without_map,
)
from tests.factories.people import make_phone
from tests.servers import Server

# Whether a runner's disc is on the part of the map above the list.
MARKER_IS_UNCOVERED = """async (code) => {
  const map = spectate.map();
  const {features} = await map.getSource("followed").getData();
  const marker = features.find(({properties}) => properties.code === code);
  if (!marker) return false;
  const {x, y} = map.project(marker.geometry.coordinates);
  const top = document.querySelector("#panel").getBoundingClientRect().top;
  return x > 0 && x < innerWidth && y > 0 && y < top;
}"""


def new_phone(
    server: Server, code: str, name: str
) -> AbstractContextManager[Publisher]:
    """Make a runner and connect their phone."""
    return publishing(server, server.database(make_phone, code, name))


def test_a_runner_appears_and_moves(page: LivePage, web_server: Server) -> None:
    with new_phone(web_server, "bob", "Bob Marsh") as bob:
        page.open("/")
        expect(page.row("bob")).to_have_count(0)
        with bob.stay(-6.33, 53.35, speed=3.2):
            page.row("bob", "live").wait_for()
            page.wait_for_marker("bob", [-6.33, 53.35])
        # Far away, because the map ignores invisible moves and may show runners of
        # other tests.
        bob.publish(-3.32, 51.36)
        page.wait_for_marker("bob", [-3.32, 51.36])
    expect(page.row("bob")).to_contain_text("Bob Marsh")
    expect(page.row("bob").locator(".bib")).to_have_text("BM")
    expect(page.row("bob").locator(".words")).to_contain_text("seen")


def test_development_loads_each_module(browser: Browser, chromium: str) -> None:
    with Server(DEBUG="1") as server:
        context = browser.new_context(base_url=server.url)
        page = LivePage(context.new_page())
        page.open("/")
        page.page.wait_for_function("() => globalThis.spectate.map()")
        loaded = page.page.evaluate(
            "() => performance.getEntriesByType('resource').map(({name}) => name)"
        )
        context.close()
    assert page.errors == []
    assert f"{server.url}/static/js/map/camera.js" in loaded
    assert f"{server.url}/static/{LIVE_BUNDLE}" not in loaded


def test_a_runner_has_a_marker_for_later_visitors(
    page: LivePage, web_server: Server
) -> None:
    with new_phone(web_server, "early", "Early") as early:
        early.publish(-6.30, 53.40)
    page.open("/runners/early/")
    page.wait_for_marker("early", [-6.30, 53.40], "followed")


def test_a_follow_is_kept_in_the_browser(page: LivePage, web_server: Server) -> None:
    with new_phone(web_server, "fay", "Fay") as fay:
        fay.publish(-6.31, 53.41)
    page.open("/")
    expect(page.star("fay")).to_have_attribute("aria-pressed", "false")
    page.star("fay").click()
    expect(page.star("fay")).to_have_attribute("aria-pressed", "true")
    page.page.reload()
    page.wait_for_connection()
    expect(page.star("fay")).to_have_attribute("aria-pressed", "true")
    expect(page.page.locator("#mine")).to_contain_text("Fay")
    page.wait_for_marker("fay", [-6.31, 53.41], "followed")
    page.star("fay").click()
    page.page.reload()
    page.wait_for_connection()
    expect(page.star("fay")).to_have_attribute("aria-pressed", "false")


def test_a_follow_is_kept_in_the_account(
    page: LivePage, context: BrowserContext, browser: Browser, web_server: Server
) -> None:
    without_map(context)
    with new_phone(web_server, "gus", "Gus") as gus:
        gus.publish(-6.31, 53.42)
    page.page.goto("/sign-up/")
    for field, text in (
        ("username", "alice"),
        ("password1", "a long walk by the river"),
        ("password2", "a long walk by the river"),
    ):
        page.page.fill(f"[name={field}]", text)
    page.page.click("main button[type=submit]")
    page.wait_for_connection()
    with page.page.expect_response("**/runners/gus/follow/") as answer:
        page.star("gus").click()
    assert answer.value.json() == {"status": "accepted"}

    other = browser.new_context(base_url=web_server.url, viewport=VIEWPORT)
    without_map(other)
    other_browser = LivePage(other.new_page())
    other_browser.page.goto("/sign-in/")
    other_browser.page.fill("[name=username]", "alice")
    other_browser.page.fill("[name=password]", "a long walk by the river")
    other_browser.page.click("main button[type=submit]")
    other_browser.wait_for_connection()
    expect(other_browser.star("gus")).to_have_attribute("aria-pressed", "true")
    assert other_browser.errors == []
    other.close()


def test_a_runner_who_becomes_private_disappears(
    page: LivePage, web_server: Server
) -> None:
    with new_phone(web_server, "ned", "Ned") as ned:
        ned.publish(-6.31, 53.43)
        page.open("/")
        page.star("ned").click()
        page.wait_for_marker("ned", [-6.31, 53.43], "followed")
        web_server.database(
            visibility_set,
            runner=web_server.database(Runner.objects.get, code="ned"),
            visibility="private",
        )
        expect(page.row("ned")).to_have_count(0)
        eventually(lambda: "ned" not in page.markers("followed"))
    expect(page.page.locator("#notice")).to_contain_text("Ned is no longer shared")


def test_picking_a_runner_on_the_map_selects_the_row(
    page: LivePage, web_server: Server
) -> None:
    with new_phone(web_server, "hal", "Hal") as hal:
        hal.publish(12.5, 41.9)
    page.open("/")
    page.wait_for_marker("hal", [12.5, 41.9])
    picked = page.row("hal").locator(".pick")
    expect(picked).to_have_attribute("aria-current", "false")
    canvas = page.page.locator("#map canvas")
    # A place away from the controls and the other runners.
    page.page.evaluate(
        """async () => {
             const map = spectate.map();
             const drawn = map.once("idle");
             map.jumpTo({ center: [12.5, 41.9], zoom: 8 });
             await drawn;
           }"""
    )

    def pointer_on_hal() -> bool:
        """Move the mouse to the runner and return whether a click would select them."""
        x, y = page.page.evaluate(
            "() => Object.values(globalThis.spectate.map().project([12.5, 41.9]))"
        )
        canvas.hover(position={"x": x - 1, "y": y})
        canvas.hover(position={"x": x, "y": y})
        return bool(canvas.evaluate("({style}) => style.cursor === 'pointer'"))

    eventually(pointer_on_hal)
    page.page.mouse.down()
    page.page.mouse.up()
    expect(picked).to_have_attribute("aria-current", "true")


def test_the_list_is_searched_by_keyboard(
    page: LivePage, context: BrowserContext, web_server: Server
) -> None:
    without_map(context)
    for code, name in (("ida", "Ida Brook"), ("jon", "Jon Field")):
        with new_phone(web_server, code, name) as runner:
            runner.publish(-6.3, 53.3)
    page.open("/")
    page.row("ida").wait_for()
    page.page.keyboard.press("/")
    page.page.keyboard.type("brook")
    expect(page.row("ida")).to_be_visible()
    expect(page.row("jon")).to_have_count(0)
    page.page.keyboard.type("x")
    expect(page.page.locator("#empty")).to_contain_text("brookx")
    # Rows are used again for other runners.
    page.page.fill("#search", "brook")
    expect(page.row("ida")).to_be_visible()
    page.page.fill("#search", "field")
    page.star("jon").click()
    mine = page.page.locator("#mine .runner")
    expect(mine).to_have_attribute("data-runner", "jon")
    expect(mine.locator(".name")).to_have_text("Jon Field")


# Draws as many frames as in a second, and waits for pending updates of the map.
DRAW_AGAIN = """async () => {
  for (let n = 0; n < 5; n++) {
    document.dispatchEvent(new Event("visibilitychange"));
    await new Promise((resolve) => setTimeout(resolve));
    await new Promise(requestAnimationFrame);
  }
  await spectate.map().getSource("followed").getData();
}"""


def test_pause_freezes_the_page(page: LivePage, web_server: Server) -> None:
    with new_phone(web_server, "kim", "Kim") as kim:
        kim.publish(-6.3, 53.31)
        page.open("/runners/kim/")
        page.wait_for_marker("kim", [-6.3, 53.31], "followed")
        page.page.click("#pause")
        expect(page.page.locator("#connection")).to_contain_text("Paused.")
        kim.publish(-6.2, 53.31)
        page.page.wait_for_function(
            "() => spectate.store.runners.get('kim').fix.lng === -6.2"
        )
        page.page.evaluate(DRAW_AGAIN)
        assert is_near(page.markers("followed")["kim"], [-6.3, 53.31])
        page.page.click("#pause")
        page.wait_for_marker("kim", [-6.2, 53.31], "followed")


def test_the_list_is_complete_without_a_map(
    page: LivePage, context: BrowserContext, web_server: Server
) -> None:
    without_map(context)
    with new_phone(web_server, "lou", "Lou") as lou:
        lou.publish(-6.3, 53.32)
    page.open("/")
    page.row("lou").wait_for()
    expect(page.page.locator("#map-missing")).to_be_visible()


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


# 128 px of the list are in the sheet on a screen of 640 px.
SHEET_HAS_ROOM = """() => {
  const { style } = document.documentElement;
  const [sheet, full] = ["--sheet", "--sheet-full"].map((name) =>
    parseFloat(style.getPropertyValue(name)));
  const list = document.querySelector("#list");
  return full < 640 && sheet - list.offsetTop >= 127;
}"""


def test_the_phone_sheet_has_three_heights(
    browser: Browser, web_server: Server
) -> None:
    context = browser.new_context(
        base_url=web_server.url,
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
    )
    without_map(context)
    page = LivePage(context.new_page())
    page.open("/")
    panel = page.page.locator("#panel")
    for stop in ("half", "full", "peek"):
        page.page.locator("#grip").tap()
        expect(panel).to_have_attribute("data-stop", stop)
    page.page.locator("#grip").focus()
    page.page.keyboard.press("ArrowUp")
    expect(panel).to_have_attribute("data-stop", "half")
    # A long name on a small phone leaves room for the list's first heading.
    page.page.set_viewport_size({"width": 320, "height": 640})
    page.page.evaluate(
        "document.querySelector('h1').textContent = 'Park loop '.repeat(9)"
    )
    page.page.wait_for_function(SHEET_HAS_ROOM)
    assert page.errors == []
    context.close()


@pytest.mark.parametrize("height", [844, 568])
def test_two_taps_and_a_name_show_a_runner_on_a_phone(
    browser: Browser, web_server: Server, height: int
) -> None:
    with new_phone(web_server, f"zoe-{height}", f"Zoe {height}") as zoe:
        zoe.publish(-6.31, 53.43)
    context = browser.new_context(
        base_url=web_server.url,
        viewport={"width": 390, "height": height},
        has_touch=True,
        is_mobile=True,
    )
    page = LivePage(context.new_page())
    page.open("/")
    page.page.wait_for_selector("#map-controls:not([hidden])")
    expect(page.page.locator("#search")).to_be_in_viewport(ratio=1)
    page.page.locator("#search").tap()
    page.page.keyboard.type(f"zoe {height}")
    page.row(f"zoe-{height}").locator(".pick").tap()
    expect(page.page.locator("#panel")).to_have_attribute("data-stop", "half")
    page.page.wait_for_function(MARKER_IS_UNCOVERED, arg=f"zoe-{height}")
    assert page.errors == []
    context.close()


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


def test_an_inaccurate_phone_with_a_low_battery_is_shown(
    page: LivePage, web_server: Server
) -> None:
    with new_phone(web_server, "tom", "Tom") as tom:
        # Half a minute ago, because the status of a phone is sent at most that often.
        then = int(time.time() * 1000) - 35_000
        tom.publish(-6.3, 54.0, t=then, accuracy=60, battery=81)
        page.open("/runners/tom/")
        phone = page.row("tom").locator(".phone")
        expect(phone).to_have_text(re.compile("^Accurate to "))
        ring = (
            "() => globalThis.spectate.map().queryRenderedFeatures({layers: ['rings']})"
        )
        eventually(lambda: len(page.page.evaluate(ring)) == 1)
        tom.publish(-6.3, 54.0, accuracy=5, battery=12)
        eventually(lambda: len(page.page.evaluate(ring)) == 0)
        expect(phone).to_have_text("Battery low: 12 %")


def test_the_map_uses_the_style_of_the_installation_or_the_default(
    browser: Browser, web_server: Server
) -> None:
    style = {
        "version": 8,
        "sources": {},
        "layers": [{"id": "theirs", "type": "background"}],
    }
    for status, layer, ours, paint in (
        (200, "theirs", "course", "line-color"),
        (404, "land", "land", "fill-color"),
    ):
        context = browser.new_context(base_url=web_server.url, viewport=VIEWPORT)
        page = LivePage(context.new_page()).page
        page.route("**/style.json", partial(Route.fulfill, status=status, json=style))
        # Sets the map style like SPECTATE_MAP_STYLE, which needs a restart of the
        # server.
        context.add_init_script(
            """const parse = JSON.parse;
               JSON.parse = (...text) => {
                 const value = parse(...text);
                 if (value?.map?.library) value.map.style = "/style.json";
                 return value;
               };
               // A busy machine may take long over a style: no time limit.
               AbortSignal.timeout = () => new AbortController().signal;
               const later = setTimeout;
               globalThis.setTimeout = (what, ms, ...rest) =>
                 ms === 8000 ? 0 : later(what, ms, ...rest);"""
        )
        page.goto("/")
        page.wait_for_function(
            "(layer) => globalThis.spectate?.map()?.getLayer(layer)", arg=layer
        )
        assert page.evaluate("() => Boolean(spectate.map().getLayer('crowd'))")
        colour = f"() => spectate.map().getPaintProperty('{ours}', '{paint}')"
        light = page.evaluate(colour)
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"(light) => ({colour})() !== light", arg=light)
        context.close()


def test_the_camera_stops_when_the_user_moves_the_map(
    page: LivePage, web_server: Server
) -> None:
    with new_phone(web_server, "rob", "Rob") as rob:
        rob.publish(-6.3, 53.7)
        page.open("/runners/rob/")
        page.wait_for_marker("rob", [-6.3, 53.7], "followed")
        centre = "() => globalThis.spectate.map().getCenter().toArray()"
        eventually(lambda: is_near(page.page.evaluate(centre), [-6.3, 53.7]))
        rob.publish(-6.299, 53.7)
        eventually(lambda: is_near(page.page.evaluate(centre), [-6.299, 53.7]))
        page.page.locator("#map canvas").focus()
        page.page.keyboard.press("ArrowUp")
        page.page.wait_for_function(
            """() => {
                 const map = globalThis.spectate.map();
                 return map.getCenter().lat > 53.7005 && !map.isMoving();
               }"""
        )
        moved = page.page.evaluate(centre)
        rob.publish(-6.298, 53.7)
        page.wait_for_marker("rob", [-6.298, 53.7], "followed")
        assert is_near(page.page.evaluate(centre), moved)
