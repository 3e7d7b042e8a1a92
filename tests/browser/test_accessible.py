"""Accessibility: by keyboard, enlarged, and by the rules of axe-core (WCAG 2.2 AA)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import FEW_FRAMES, SCALE
from tests.browser.gallery import APPEARANCES, DESKTOP, pages
from tests.browser.pages import PATIENCE_MS, LivePage, without_map
from tests.factories.site import Site, make_site
from tests.servers import ROOT, Server
from tests.services import unavailable

AXE = ROOT / "node_modules/axe-core/axe.min.js"
RULES = {
    "type": "tag",
    "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
}
# Rules that can fail differently in a different colour scheme or size.
APPEARANCE_RULES = {
    "type": "rule",
    "values": ["color-contrast", "link-in-text-block", "target-size"],
}
# Colours are only checked after their transitions.
NO_TRANSITIONS = "* { transition: none !important; }"
OFFICE_LISTS = ".accounted .wide, .desk-row .liveness"
# Wider than its box, or higher than a line.
SQUEEZED = """(lists) => lists.filter((list) =>
  list.scrollWidth > list.clientWidth
    || list.matches(".liveness") && list.offsetHeight > 30
).map((list) => `is squeezed at 320 px: ${list.textContent.trim().slice(0, 60)}`)"""


@pytest.fixture(scope="module")
def axe() -> Path:
    if not AXE.exists():
        unavailable("axe-core", ".ci/setup test")
    return AXE


@pytest.fixture(scope="module")
def site(web_server: Server) -> Site:
    return web_server.database(make_site)


def faults(page: Page, rules: dict[str, Any]) -> list[str]:
    """Return the faults of a page. On an admin page, only of the project's content."""
    found: dict[str, Any] = page.evaluate(
        """(rules) => axe.run(document.querySelector("#content") ?? document, {
             runOnly: rules, resultTypes: ["violations"],
             iframes: false, elementRef: false,
           })""",
        rules,
    )
    return [
        f"{fault['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


def overflow(page: Page) -> list[str]:
    """Return the horizontal overflow at 640 px, the width at 200 % of usual screens."""
    page.set_viewport_size({"width": 640, "height": 400})
    wide: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return [f"is {wide} px too wide at 640 px"] if wide > 0 else []


def squeezed(page: Page) -> list[str]:
    """Return what scrolls sideways or wraps in the lists of race day on a phone."""
    if not page.locator(OFFICE_LISTS).count():
        return []
    page.set_viewport_size({"width": 320, "height": 640})
    found: list[str] = page.locator(OFFICE_LISTS).evaluate_all(SQUEEZED)
    return found


def test_no_page_violates_a_rule_of_axe(
    browser: Browser, web_server: Server, site: Site, axe: Path
) -> None:
    context = browser.new_context(base_url=web_server.url, bypass_csp=True)
    context.add_init_script(path=axe)
    # The map is an image for axe, and takes most of the time.
    without_map(context)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    found: list[str] = []
    for name in pages(page, web_server, site):
        page.add_style_tag(content=NO_TRANSITIONS)
        for n, (scheme, (width, height)) in enumerate(APPEARANCES[:2]):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": height})
            found += [
                f"{name}, {scheme}, {width}: {fault}"
                for fault in faults(page, APPEARANCE_RULES if n else RULES)
            ]
        found += [f"{name} {fault}" for fault in overflow(page) + squeezed(page)]
        page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
    context.close()
    assert not found, "\n\n".join(found)


FOCUS = """() => {
  const element = document.activeElement;
  return element.id || element.className || element.tagName.toLowerCase();
}"""


@pytest.mark.usefixtures("site")
def test_the_live_page_can_be_used_by_keyboard_alone(
    browser: Browser, web_server: Server
) -> None:
    context = browser.new_context(
        base_url=web_server.url,
        locale="en-US",
        viewport={"width": DESKTOP[0], "height": DESKTOP[1]},
        device_scale_factor=SCALE,
        reduced_motion="reduce",
    )
    context.add_init_script(FEW_FRAMES)
    live = LivePage(context.new_page())
    page, press = live.page, live.page.keyboard.press

    def focus() -> str:
        return str(page.evaluate(FOCUS))

    def reach(name: str) -> None:
        """Press Tab until an element has the focus."""
        for _ in range(40):
            press("Tab")
            if focus() == name:
                return
        raise AssertionError(f"The tab key never came to {name}.")

    live.open("/races/ten/")
    page.wait_for_selector("#map-controls:not([hidden])")
    live.star("cleo").wait_for()
    # The list has two tab stops, whatever its length.
    stops = []
    for _ in range(30):
        press("Tab")
        stops.append(focus())
        if stops[-1] == "zoom-out":
            break
    assert stops[:5] == ["skip", "skip", "brand", "a", "open-settings"]
    assert stops.count("pick") == stops.count("star") == 1
    buttons = ["fold", "pause", "replay", "fit", "mine-in-view", "north", "zoom-in"]
    assert stops[-8:-1] == buttons

    # Find and follow Vera, and send her a cheer.
    press("/")
    page.keyboard.type("vera")
    expect(page.locator("#list .runner")).to_have_count(1)
    press("ArrowDown")
    press("Enter")
    expect(live.row("vera").locator(".pick")).to_have_attribute("aria-current", "true")
    press("Tab")
    press("Space")
    expect(live.star("vera")).to_have_attribute("aria-pressed", "true")
    assert focus() == "star"
    press("Tab")
    expect(page.locator(".cheer-row button").first).to_be_focused()
    press("Escape")
    expect(page.locator(".cheer-row")).to_have_count(0)
    press("/")
    press("Escape")
    expect(page.locator("#everyone .runner")).to_have_count(4)
    press("ArrowDown")
    press("End")
    expect(page.locator("#everyone .runner").last.locator(".pick")).to_be_focused()

    page.focus("#away")
    press("Shift+Tab")
    press("Enter")
    expect(page.locator("dialog.bell button").first).to_be_visible()
    press("Escape")
    expect(page.locator("dialog.bell")).to_have_count(0)
    assert focus() == "bell"

    # Show her arrival times. The focus returns to where it was.
    page.focus("#away")
    reach("places")
    press("ArrowDown")
    expect(page.locator("#arrivals")).to_be_visible()
    reach("unpin")
    press("Escape")
    expect(page.locator("#arrivals")).to_be_hidden()
    assert focus() == "places"

    reach("pause")
    press("Space")
    expect(page.locator("#connection")).to_have_attribute("data-state", "paused")
    press("Space")
    reach("replay")
    press("Enter")
    expect(page.locator("#player-play")).to_be_focused()
    press("Escape")
    expect(page.locator("#player")).to_be_hidden()
    assert focus() == "replay"
    reach("mine-in-view")
    press("Enter")
    camera = page.locator("#mine-in-view")
    expect(camera).to_have_attribute("aria-pressed", "true")
    page.focus("#map canvas")
    press("ArrowRight")
    expect(camera).to_have_attribute("aria-pressed", "false")

    # The units (first miles, as in America) and the language persist.
    distance = live.row("cleo").locator(".distance")
    expect(distance).to_have_text("5.0 mi")
    page.focus(".open-settings")
    press("Enter")
    reach("link")
    press("Enter")
    expect(distance).to_have_text("8.0 km")
    press("Escape")
    assert focus() == "open-settings"
    press("Enter")
    press("Tab")
    press("Tab")
    press("Enter")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(distance).to_have_text("8,0 km")
    expect(page.locator("#places option", has_text="Ziel")).to_have_count(1)
    assert live.errors == []
    context.close()
