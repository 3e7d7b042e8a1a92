"""The browser as the runner's phone: nothing it recorded is lost, or stored twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, BrowserContext, Page, expect

from runners.models import Position, RunnerToken
from tests.browser.pages import PATIENCE, LivePage, sign_in, without_map
from tests.factories.people import make_runner, make_user
from tests.servers import Server


@dataclass
class Cast:
    """Bob has an account, Anna only a token."""

    account: User
    token: RunnerToken
    plain: str


def make_cast() -> Cast:
    account = make_user("bob")
    make_runner("bob", "Bob Marsh", account=account)
    anna = make_runner("anna", "Anna Reed")
    return Cast(account, *RunnerToken.objects.issue(anna, name="phone"))


@pytest.fixture(scope="module")
def cast(web_server: Server) -> Cast:
    return web_server.database(make_cast)


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


def wait_until_kept(page: Page, least: int) -> None:
    """Wait until so many positions, or more, are in the page's storage."""
    page.wait_for_function(
        "(least) => Number(document.querySelector('#waiting').innerText) >= least",
        arg=least,
    )


def stored() -> list[float]:
    """Return the latitudes that are stored of Bob."""
    rows = Position.objects.filter(runner__code="bob")
    return [round(lat, 5) for lat in rows.values_list("lat", flat=True)]


def test_everything_recorded_while_the_server_was_away_is_stored_once(
    phone: BrowserContext, web_server: Server, cast: Cast
) -> None:
    # A page asks for a place where none has come for 10 s: here each comes by `move`.
    phone.add_init_script("navigator.geolocation.getCurrentPosition = () => {}")
    sign_in(phone, web_server, cast.account)
    page = phone.new_page()
    page.goto("/share/")
    page.click("#start")
    expect(page.locator("#headline")).to_have_text("Sharing")
    lats = [53.35, *move(page, 1)]
    expect(page.locator("#waiting")).to_have_text("0")

    # From now on the page can be loaded without the server.
    page.evaluate("() => navigator.serviceWorker.ready.then(() => null)")
    web_server.kill()
    expect(page.locator("#headline")).to_have_text("Recording, no connection")
    lats += move(page, 2, 3)
    wait_until_kept(page, 2)
    # The shell comes from the service worker, the queue from the browser's storage.
    page.reload()
    lats += move(page, 4)
    wait_until_kept(page, 3)
    page.close()
    page = phone.new_page()
    page.goto("/share/")
    lats += move(page, 5)
    expect(page.locator("#headline")).to_have_text("Recording, no connection")
    wait_until_kept(page, 4)

    web_server.start()
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("#headline")).to_have_text("Sharing")
    expect(page.locator("#waiting")).to_have_text("0")
    rows = web_server.database(stored)
    assert set(lats) <= set(rows)
    # A page that is opened looks for the place anew, where it was before.
    assert len(rows) <= len(lats) + 2
    page.click("#stop")
    expect(page.locator("#detail")).to_have_text("Everything has arrived.")


def test_link_makes_a_browser_the_phone_until_its_token_is_revoked(
    page: LivePage,
    context: BrowserContext,
    phone: BrowserContext,
    web_server: Server,
    cast: Cast,
) -> None:
    without_map(context)
    anna = phone.new_page()
    asked: list[str] = []
    anna.on("request", lambda request: asked.append(request.url))
    anna.goto(f"/share/#token={cast.plain}")
    expect(anna.locator("#offer-title")).to_have_text("Is this the phone of Anna Reed?")
    assert anna.url == f"{web_server.url}/share/"
    assert not any(cast.plain in url.partition("#")[0] for url in asked)
    expect(anna.locator("#start")).to_be_hidden()
    anna.click("#offer-yes")
    anna.click("#start")
    expect(anna.locator("#headline")).to_have_text("Sharing")

    page.open("/runners/anna/")
    page.row("anna").get_by_role("button", name="Keep going").click()
    expect(anna.locator("#cheer")).to_have_text("“Keep going”")

    web_server.database(cast.token.revoke)
    expect(anna.locator("#headline")).to_have_text("No longer allowed")
    expect(anna.locator("#start")).to_be_hidden()


def test_page_says_that_it_may_not_know_where_it_is(
    browser: Browser, web_server: Server, cast: Cast
) -> None:
    with browser.new_context(base_url=web_server.url) as context:
        page = context.new_page()
        page.goto("/share/#token=was-never-issued")
        expect(page.locator("#note-trouble")).to_have_text(
            "This link was revoked or is not complete. Ask for a new one."
        )
        sign_in(context, web_server, cast.account)
        page.goto("/share/")
        page.click("#start")
        expect(page.locator("#headline")).to_have_text("No permission")
        expect(page.locator("#start")).to_be_visible()
