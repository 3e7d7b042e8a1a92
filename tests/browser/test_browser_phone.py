"""The browser as the runner's phone: nothing it recorded is lost, or stored twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.pages import PATIENCE
from tests.servers import Server

ACCOUNT = """
from django.contrib.auth.models import User
from runners.models import Runner
bob = User.objects.create_user("bob", password="a long walk by the river")
Runner.objects.create(code="bob", name="Bob Marsh", account=bob)
"""
STORED = """
import json
from runners.models import Position
rows = Position.objects.filter(runner__code="{code}")
print(json.dumps([round(lat, 5) for lat in rows.values_list("lat", flat=True)]))
"""


@pytest.fixture(scope="module")
def bob(web_server: Server) -> None:
    web_server.manage("shell", "-v0", "-c", ACCOUNT)


@pytest.fixture
def phone(browser: Browser, web_server: Server) -> Iterator[BrowserContext]:
    """A phone whose browser may tell where it is."""
    context = browser.new_context(
        base_url=web_server.url,
        viewport={"width": 390, "height": 844},
        geolocation={"latitude": 53.35, "longitude": -6.33, "accuracy": 5},
        permissions=["geolocation"],
    )
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


def sign_in(page: Page) -> None:
    page.goto("/sign-in/?next=/share/")
    page.fill("[name=username]", "bob")
    page.fill("[name=password]", "a long walk by the river")
    page.click("button.primary")
    page.wait_for_url("**/share/")


def move(page: Page, *steps: int) -> list[float]:
    """Be at one place after the other; return their latitudes."""
    lats = [round(53.35 + step / 10_000, 5) for step in steps]
    for lat in lats:
        page.context.set_geolocation(
            {"latitude": lat, "longitude": -6.33, "accuracy": 5}
        )
        time.sleep(1.1)
    return lats


def stored(server: Server, code: str) -> list[float]:
    lats: list[float] = json.loads(
        server.manage("shell", "-v0", "-c", STORED.format(code=code))
    )
    return lats


def test_everything_recorded_while_the_server_was_away_is_stored_once(
    phone: BrowserContext, web_server: Server, bob: None
) -> None:
    page = phone.new_page()
    sign_in(page)
    page.click("#start")
    expect(page.locator("#headline")).to_have_text("Sharing")
    lats = [53.35, *move(page, 1, 2)]
    expect(page.locator("#waiting")).to_have_text("0")

    web_server.kill()
    expect(page.locator("#headline")).to_have_text("Recording, no connection")
    lats += move(page, 3, 4)
    # The shell comes from the service worker, the queue from the browser's storage.
    page.reload()
    lats += move(page, 5, 6)
    expect(page.locator("#headline")).to_have_text("Recording, no connection")
    assert int(page.inner_text("#waiting")) >= 4

    web_server.start()
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("#headline")).to_have_text("Sharing")
    expect(page.locator("#waiting")).to_have_text("0")
    rows = stored(web_server, "bob")
    assert set(lats) <= set(rows)
    # A reload looks for the place anew; no place is stored twice but that one.
    assert len(rows) <= len(lats) + 1
    page.click("#stop")
    expect(page.locator("#detail")).to_have_text("Everything has reached us.")
