from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Playwright,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.browser.pages import PATIENCE_MS, LivePage, page_server
from tests.servers import Server, checked
from tests.services import CHROMIUM_FLAGS

# Smaller than the default, because the map is drawn in software.
VIEWPORT: ViewportSize = {"width": 900, "height": 600}
# Device pixels per CSS pixel, for pages with a map: a quarter of the pixels is drawn.
# Only thin borders are wider then.
SCALE = 0.5
# For contexts whose pages move a map: timers in place of 60 frames per second.
FEW_FRAMES = """
globalThis.requestAnimationFrame =
  (draw) => setTimeout(() => draw(performance.now()), 100);
globalThis.cancelAnimationFrame = clearTimeout;
"""

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def web_server(chromium: str) -> Iterator[Server]:
    """A server whose pages have their static files."""
    yield from checked(page_server())


def launch(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    yield from launch(playwright, chromium)


@pytest.fixture
def context(browser: Browser, web_server: Server) -> Iterator[BrowserContext]:
    """A new browser context without any data."""
    context = browser.new_context(
        base_url=web_server.url, viewport=VIEWPORT, device_scale_factor=SCALE
    )
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[LivePage]:
    """A page that must not log an error on its console."""
    page = LivePage(context.new_page())
    yield page
    assert page.errors == []


@pytest.fixture
def phone(browser: Browser, web_server: Server) -> Iterator[BrowserContext]:
    """A phone whose browser allows geolocation."""
    context = browser.new_context(
        base_url=web_server.url,
        viewport={"width": 390, "height": 844},
        geolocation={"latitude": 53.35, "longitude": -6.33, "accuracy": 5},
        permissions=["geolocation"],
    )
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()
