"""A call for help from the browser as a phone, and the desk that receives it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from runners.models import Entry
from runners.preferences.runner_settings import sharing_pause
from tests.factories.people import make_office, make_runner, make_token
from tests.factories.races import make_bare_race
from tests.servers import Server


@dataclass
class Rows:
    """A current race and the token of Bob's phone."""

    race: int
    token: str


def make_rows() -> Rows:
    """Make Bob, who runs with sharing paused."""
    make_office("a long walk by the river")
    race = make_bare_race("half", name="Riverside Half")
    bob = make_runner("bob", "Bob Marsh")
    Entry.objects.create(race=race, runner=bob, bib="17", status="started")
    sharing_pause(runner=bob)
    return Rows(race.pk, make_token(bob))


# The bar of the held button is full when the test calls `fillBar`, not after 1.5 s.
BAR = """
const later = globalThis.setTimeout;
globalThis.setTimeout = (what, ms, ...rest) => {
  if (ms !== 1500) return later(what, ms, ...rest);
  globalThis.fillBar = what;
  return 0;
};
"""


@pytest.fixture(scope="module")
def rows(web_server: Server) -> Rows:
    return web_server.database(make_rows)


@pytest.fixture
def phone(phone: BrowserContext) -> BrowserContext:
    phone.add_init_script(BAR)
    return phone


def hold(page: Page) -> None:
    """Hold the button until the bar is full."""
    page.locator("#sos-button").hover()
    page.mouse.down()
    page.evaluate("() => fillBar()")
    page.mouse.up()


# Counts how often the desk sounds.
COUNT_TONES = """() => {
  globalThis.tones = 0;
  const { start } = OscillatorNode.prototype;
  OscillatorNode.prototype.start = function () {
    globalThis.tones++;
    start.call(this);
  };
}"""


def refresh(desk: Page) -> None:
    """Refresh the desk now instead of in some seconds."""
    desk.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def open_desk(context: BrowserContext, race: int) -> Page:
    page = context.new_page()
    page.goto(f"/sign-in/?next=/admin/runners/race/{race}/desk/")
    page.fill("[name=username]", "office")
    page.fill("[name=password]", "a long walk by the river")
    page.click("button.primary")
    page.wait_for_url("**/desk/")
    return page


def test_a_call_without_a_connection_reaches_the_desk_and_is_answered(
    phone: BrowserContext,
    context: BrowserContext,
    web_server: Server,
    rows: Rows,
) -> None:
    desk = open_desk(context, rows.race)
    desk.evaluate(COUNT_TONES)
    desk.click("h1")
    page = phone.new_page()
    page.goto(f"/share/#token={rows.token}")
    page.click("#offer-yes")
    # Shown after the page has been reloaded as Bob's phone.
    expect(page.locator("#sos-button")).to_be_visible()

    # A tap does not send a call.
    page.click("#sos-button")
    expect(page.locator("#sos-says")).to_have_text("Hold it until the bar is full.")
    expect(page.locator("#sos")).to_have_attribute("data-open", "false")

    # From now on the page can be loaded without a connection.
    page.evaluate("() => navigator.serviceWorker.ready.then(() => null)")
    phone.set_offline(True)
    hold(page)
    expect(page.locator("#sos-says")).to_contain_text("not sent yet")
    expect(page.locator("#sos-says")).to_contain_text("Your position is sent with it.")
    page.reload()
    expect(page.locator("#sos-says")).to_contain_text("not sent yet")
    expect(desk.locator("#desk-sos")).to_be_hidden()

    phone.set_offline(False)
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("#sos-says")).to_contain_text("Your call arrived")
    refresh(desk)
    call = desk.locator(".desk-call")
    expect(call).to_contain_text("Bob Marsh")
    expect(call.locator(".place")).to_have_text("53.35000, -6.33000")
    assert desk.title().startswith("(1 SOS)")
    assert desk.evaluate("tones") > 0
    call.get_by_role("button", name="Acknowledge").click()
    expect(call).to_contain_text("seen by office")
    expect(page.locator("#sos-says")).to_contain_text("The race office saw your call")
    desk.evaluate("tones = 0")
    refresh(desk)

    hold(page)
    expect(page.locator("#sos-button")).to_contain_text("SOS")
    refresh(desk)
    expect(desk.locator("#desk-sos")).to_be_hidden()
    assert desk.evaluate("tones") == 0
