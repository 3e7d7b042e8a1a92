"""The live page with its list: followed, searched, paused, on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from runners.models import Runner
from runners.preferences.runner_settings import visibility_set
from runners.views.bundle import LIVE_BUNDLE
from tests.browser.conftest import VIEWPORT
from tests.browser.pages import LivePage, eventually, is_near, new_phone, without_map
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
        # A request for the track of a private runner is a 404, which the console logs.
        with page.page.expect_response("**/runners/ned/track.json*"):
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
