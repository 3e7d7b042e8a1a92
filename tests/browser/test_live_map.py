"""The map of the live page."""

from __future__ import annotations

import re
import time
from functools import partial

from playwright.sync_api import Browser, Route, expect

from tests.browser.conftest import VIEWPORT
from tests.browser.pages import LivePage, eventually, is_near, new_phone
from tests.servers import Server


def test_a_runner_has_a_marker_for_later_visitors(
    page: LivePage, web_server: Server
) -> None:
    with new_phone(web_server, "early", "Early") as early:
        early.publish(-6.30, 53.40)
    page.open("/runners/early/")
    page.wait_for_marker("early", [-6.30, 53.40], "followed")


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
