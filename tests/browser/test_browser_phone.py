"""The browser as a phone: no recorded position is lost or stored twice."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, BrowserContext, Page, expect

from runners.models import Position, RunnerToken
from tests.browser.pages import LivePage, sign_in, without_map
from tests.factories.people import make_runner, make_user
from tests.servers import Server


@dataclass
class Rows:
    """Bob's account, and a token for Anna, without an account."""

    account: User
    token: RunnerToken
    plain: str


def make_rows() -> Rows:
    account = make_user("bob")
    make_runner("bob", "Bob Marsh", account=account)
    anna = make_runner("anna", "Anna Reed")
    return Rows(account, *RunnerToken.objects.issue(anna, name="phone"))


@pytest.fixture(scope="module")
def rows(web_server: Server) -> Rows:
    return web_server.database(make_rows)


def move(page: Page, *steps: int) -> list[float]:
    """Move to each position in turn; return the latitudes when they are recorded."""
    lats = []
    for step in steps:
        time.sleep(1)  # The page records one position per second.
        lats.append(round(53.35 + step / 10_000, 5))
        # Makes this position different from the previous one.
        accuracy = 5 + step
        page.context.set_geolocation(
            {"latitude": lats[-1], "longitude": -6.33, "accuracy": accuracy}
        )
        expect(page.locator("#accuracy")).to_have_text(f"±{accuracy}")
    return lats


def wait_until_queued(page: Page, least: int) -> None:
    """Wait until at least this many positions are in the page's storage."""
    page.wait_for_function(
        "(least) => Number(document.querySelector('#waiting').innerText) >= least",
        arg=least,
    )


def stored_latitudes() -> list[float]:
    """Return Bob's stored latitudes."""
    positions = Position.objects.filter(runner__code="bob")
    return [round(lat, 5) for lat in positions.values_list("lat", flat=True)]


def test_positions_recorded_without_the_server_are_stored_once(
    phone: BrowserContext, web_server: Server, rows: Rows
) -> None:
    # After 10 s without a position, the page requests one. Here `move` makes all
    # positions.
    phone.add_init_script("navigator.geolocation.getCurrentPosition = () => {}")
    sign_in(phone, web_server, rows.account)
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
    wait_until_queued(page, 2)
    # The page comes from the service worker, the queue from the browser's storage.
    page.reload()
    lats += move(page, 4)
    wait_until_queued(page, 3)
    page.close()
    page = phone.new_page()
    page.goto("/share/")
    lats += move(page, 5)
    expect(page.locator("#headline")).to_have_text("Recording, no connection")
    wait_until_queued(page, 4)

    web_server.start()
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("#headline")).to_have_text("Sharing")
    expect(page.locator("#waiting")).to_have_text("0")
    positions = web_server.database(stored_latitudes)
    assert set(lats) <= set(positions)
    # An opened page requests the position again, at the same place.
    assert len(positions) <= len(lats) + 2
    page.click("#stop")
    expect(page.locator("#detail")).to_have_text("Everything has arrived.")


def test_a_link_makes_a_browser_the_phone_until_its_token_is_revoked(
    page: LivePage,
    context: BrowserContext,
    phone: BrowserContext,
    web_server: Server,
    rows: Rows,
) -> None:
    without_map(context)
    anna = phone.new_page()
    urls: list[str] = []
    anna.on("request", lambda request: urls.append(request.url))
    anna.goto(f"/share/#token={rows.plain}")
    expect(anna.locator("#offer-title")).to_have_text("Is this the phone of Anna Reed?")
    assert anna.url == f"{web_server.url}/share/"
    assert not any(rows.plain in url.partition("#")[0] for url in urls)
    expect(anna.locator("#start")).to_be_hidden()
    anna.click("#offer-yes")
    anna.click("#start")
    expect(anna.locator("#headline")).to_have_text("Sharing")

    page.open("/runners/anna/")
    page.row("anna").get_by_role("button", name="Keep going").click()
    expect(anna.locator("#cheer")).to_have_text("“Keep going”")

    web_server.database(rows.token.revoke)
    expect(anna.locator("#headline")).to_have_text("No longer allowed")
    expect(anna.locator("#start")).to_be_hidden()


def test_the_page_explains_a_missing_permission(
    browser: Browser, web_server: Server, rows: Rows
) -> None:
    with browser.new_context(base_url=web_server.url) as context:
        page = context.new_page()
        page.goto("/share/#token=was-never-issued")
        expect(page.locator("#note-trouble")).to_have_text(
            "This link was revoked or is not complete. Ask for a new one."
        )
        sign_in(context, web_server, rows.account)
        page.goto("/share/")
        page.click("#start")
        expect(page.locator("#headline")).to_have_text("No permission")
        expect(page.locator("#start")).to_be_visible()
