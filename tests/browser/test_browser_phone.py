"""The browser as the runner's phone: nothing it recorded is lost, or stored twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.pages import PATIENCE, LivePage
from tests.servers import Server

CAST = """
from django.contrib.auth.models import User
from runners.models import Runner, RunnerToken
bob = User.objects.create_user("bob", password="a long walk by the river")
Runner.objects.create(code="bob", name="Bob Marsh", account=bob)
anna = Runner.objects.create(code="anna", name="Anna Reed")
print(RunnerToken.objects.issue(anna, name="phone")[1])
"""
REVOKE = """
from runners.models import RunnerToken
for token in RunnerToken.objects.filter(runner__code="anna"):
    token.revoke()
"""
STORED = """
import json
from runners.models import Position
rows = Position.objects.filter(runner__code="{code}")
print(json.dumps([round(lat, 5) for lat in rows.values_list("lat", flat=True)]))
"""


@pytest.fixture(scope="module")
def annas_token(web_server: Server) -> str:
    """Bob has an account, Anna only a token."""
    return web_server.manage("shell", "-v0", "-c", CAST).strip()


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
    expect.set_options(timeout=PATIENCE)
    yield context
    context.close()


def sign_in(page: Page) -> None:
    page.goto("/sign-in/?next=/share/")
    page.fill("[name=username]", "bob")
    page.fill("[name=password]", "a long walk by the river")
    page.click("button.primary")
    page.wait_for_url("**/share/")


def move(page: Page, *steps: int) -> list[float]:
    """Be at one place after the other; return the latitudes once they are recorded."""
    lats = []
    for step in steps:
        time.sleep(1)  # The page takes one a second.
        lats.append(round(53.35 + step / 10_000, 5))
        # What tells it from the one before.
        accuracy = 5 + step
        page.context.set_geolocation(
            {"latitude": lats[-1], "longitude": -6.33, "accuracy": accuracy}
        )
        expect(page.locator("#accuracy")).to_have_text(f"±{accuracy}")
    return lats


def stored(server: Server, code: str) -> list[float]:
    lats: list[float] = json.loads(
        server.manage("shell", "-v0", "-c", STORED.format(code=code))
    )
    return lats


def test_everything_recorded_while_the_server_was_away_is_stored_once(
    phone: BrowserContext, web_server: Server, annas_token: str
) -> None:
    page = phone.new_page()
    sign_in(page)
    page.click("#start")
    expect(page.locator("#headline")).to_have_text("Sharing")
    lats = [53.35, *move(page, 1)]
    expect(page.locator("#waiting")).to_have_text("0")

    web_server.kill()
    expect(page.locator("#headline")).to_have_text("Recording, no connection")
    lats += move(page, 2, 3)
    # The shell comes from the service worker, the queue from the browser's storage.
    page.reload()
    lats += move(page, 4)
    page.close()
    page = phone.new_page()
    page.goto("/share/")
    lats += move(page, 5)
    expect(page.locator("#headline")).to_have_text("Recording, no connection")
    assert int(page.inner_text("#waiting")) >= 3

    web_server.start()
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("#headline")).to_have_text("Sharing")
    expect(page.locator("#waiting")).to_have_text("0")
    rows = stored(web_server, "bob")
    assert set(lats) <= set(rows)
    # A page that is opened looks for the place anew, where it was before.
    assert len(rows) <= len(lats) + 2
    page.click("#stop")
    expect(page.locator("#detail")).to_have_text("Everything has reached us.")


def test_link_makes_a_browser_the_phone_until_its_token_is_revoked(
    page: LivePage, phone: BrowserContext, web_server: Server, annas_token: str
) -> None:
    anna = phone.new_page()
    asked: list[str] = []
    anna.on("request", lambda request: asked.append(request.url))
    anna.goto(f"/share/#token={annas_token}")
    expect(anna.locator("#offer-title")).to_have_text("Is this the phone of Anna Reed?")
    assert anna.url == f"{web_server.url}/share/"
    assert not any(annas_token in url.partition("#")[0] for url in asked)
    expect(anna.locator("#start")).to_be_hidden()
    anna.click("#offer-yes")
    anna.click("#start")
    expect(anna.locator("#headline")).to_have_text("Sharing")

    page.open("/runners/anna/")
    page.row("anna").get_by_role("button", name="Keep going").click()
    expect(anna.locator("#cheer")).to_have_text("“Keep going”")

    web_server.manage("shell", "-v0", "-c", REVOKE)
    expect(anna.locator("#headline")).to_have_text("No longer allowed")
    expect(anna.locator("#start")).to_be_hidden()


def test_page_says_that_it_may_not_know_where_it_is(
    browser: Browser, web_server: Server, annas_token: str
) -> None:
    with browser.new_context(base_url=web_server.url) as context:
        page = context.new_page()
        page.goto(f"/share/#token={annas_token}")
        expect(page.locator("#note-trouble")).to_have_text(
            "This link was revoked or is not complete. Ask for a new one."
        )
        sign_in(page)
        page.click("#start")
        expect(page.locator("#headline")).to_have_text("No permission")
        expect(page.locator("#start")).to_be_visible()
