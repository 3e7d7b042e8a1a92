"""A race under way in a browser, also on a big screen or embedded."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator

from playwright.sync_api import Browser, BrowserContext, Route, WebSocket, expect

from runners.views.bundle import LIVE_BUNDLE
from tests.browser.pages import LivePage, eventually, without_map
from tests.browser.race.scenes import end_race, make_finishers, open_race
from tests.http_server import Handler, http_server
from tests.servers import Server
from tests.waiting import wait_until

# A browser that has a push service.
PUSH = """
globalThis.Notification = class {
  static permission = "granted";
  static requestPermission() { return Promise.resolve("granted"); }
};
const subscribed = {
  options: {}, unsubscribe: async () => true, toJSON: () => ({ endpoint: "x" }),
};
const pushManager = {
  subscribe: async () => subscribed, getSubscription: async () => subscribed,
};
const registration = {
  pushManager, active: { state: "activated", addEventListener() {} },
};
navigator.serviceWorker.register = async () => registration;
navigator.serviceWorker.getRegistration = async () => registration;
"""


def test_cards_have_the_finishing_times_and_ranks_of_the_standings(
    page: LivePage, context: BrowserContext, web_server: Server
) -> None:
    without_map(context)
    web_server.database(make_finishers, "ranked")
    page.open("/races/ranked/")
    expect(page.page.locator(f"script[src$='/{LIVE_BUNDLE}']")).to_have_count(1)
    ann, bob, cleo = (f"{name}-ranked" for name in ("ann", "bob", "cleo"))
    expect(page.row(ann).locator(".words")).to_have_text("Finished in 33:20")
    expect(page.row(cleo).locator(".rank")).to_have_text("3rd")
    hint = page.page.locator("#hint")
    page.page.fill("#search", "nobody")
    expect(hint).to_be_hidden()
    expect(page.page.locator("#list")).to_have_attribute("tabindex", "0")
    page.page.fill("#search", "")
    expect(hint).to_be_visible()
    page.page.click("#hint button")
    expect(hint).to_be_hidden()
    page.page.click("#groups summary")
    page.page.select_option("#groups [name=category]", "W")
    expect(page.row(cleo).locator(".rank")).to_have_text("2nd")
    expect(page.row(bob)).to_have_count(0)
    page.page.fill("#bibs", "1, 2; 3 99")
    page.page.press("#bibs", "Enter")
    expect(page.page.locator("#groups-says")).to_have_text(
        "3 runners of your list are followed. Not found: 99."
    )
    card = page.row(bob)
    expect(card.locator(".words")).to_have_text("Finished in 35:00")
    expect(card.locator(".rank")).to_have_text("2nd")
    expect(card.locator(".next")).to_have_text("1st in M")

    # Bob has the worse time and finished last.
    page.open("/races/ranked/?screen=1")
    expect(page.page.locator("#ticker li")).to_contain_text(["2 Bob", "1 Ann"])
    expect(page.row(ann).locator(".rank")).to_have_text("1st")
    expect(page.row(cleo).locator(".rank")).to_have_text("3rd")
    expect(page.row(cleo).locator(".next")).to_contain_text("Finish")
    expect(page.row(cleo).locator(".gap")).to_have_text(
        re.compile(
            r"^\d+:\d\d behind (Ann|Bob).* at .* km, \d+:\d\d more than at .*km$"
        )
    )
    web_server.database(end_race, "ranked")
    page.open("/runners/ann-ranked/")
    expect(page.page.locator("#summary")).to_have_text("Bib 1. Finished in 33:20, 1st")

    def progress_of_cleo() -> object:
        items = page.page.request.get("/live.json?race=ranked").json()["runners"]
        (progress,) = (item["fix"][5] for item in items if item["code"] == cleo)
        return progress

    # Pages share a read of the race for up to a second.
    wait_until(lambda: progress_of_cleo() is None)
    page.open("/races/ranked/")
    expect(page.row(cleo).locator(".words")).to_have_text("Not finished")


def test_arrivals_at_a_place_count_down_in_a_callout_and_notify(
    page: LivePage, context: BrowserContext, race: str
) -> None:
    context.add_init_script(PUSH)
    choosing = "**/notifications/arrivals/"
    page.page.route(choosing, lambda route: route.fulfill(json={"arrivals": 1}))
    leader = open_race(page)
    page.star(leader).click()
    next_words = page.row(leader).locator(".next")
    expect(next_words).to_have_text(re.compile(r" (in .*\d min|about now)$"))
    page.page.select_option("#places", label="Finish")
    row = page.page.locator("#arrivals tbody tr")
    expect(row).to_have_count(1)
    expect(row.locator("td").first).to_have_text(re.compile(r"^in \d+–\d+ min$"))
    # Its callout covers what is near the finish.
    page.page.click("#callout-close")
    # A place ahead on the lap. Each later pass of it is a separate row.
    place = page.page.evaluate(
        """(code) => {
             const {store} = globalThis.spectate;
             const {along} = store.races.get("demo");
             return along.place(store.runners.get(code).fix.progress + 500);
           }""",
        leader,
    )
    page.page.evaluate(
        "(at) => globalThis.spectate.map().jumpTo({center: at, zoom: 16})", place
    )
    spot = page.page.evaluate("(at) => globalThis.spectate.map().project(at)", place)
    page.page.locator("#map canvas").click(
        position={"x": spot["x"], "y": spot["y"]}, button="right"
    )
    eventually(lambda: row.count() > 1)
    # The answer is at the place.
    callout = page.page.locator("#callout")
    expect(callout.locator("li").first.locator("b")).to_have_text(
        re.compile(r"^(in \d.* min|about now)$")
    )
    expect(callout.locator("li")).to_have_count(min(3, row.count()))
    box = callout.bounding_box()
    assert box is not None
    assert box["x"] < spot["x"] + 360 < box["x"] + box["width"]
    # The server notifies, so that a locked phone rings.
    with page.page.expect_request(choosing) as request:
        page.page.click("#callout-warn")
    chosen = json.loads(request.value.post_data or "")
    assert chosen["runners"] == [leader] and chosen["race"] == "demo"
    assert len(chosen["distances"]) > 1
    page.page.wait_for_function("() => localStorage['spectate.arrivals']")
    # A page that is opened again shows the choice, which ends with the place.
    page.page.reload()
    page.wait_for_connection()
    expect(page.page.locator("#warn")).to_be_checked()
    with page.page.expect_request(choosing) as request:
        page.page.click("#unpin")
    assert json.loads(request.value.post_data or "")["runners"] == []
    expect(page.page.locator("#arrivals")).to_be_hidden()
    expect(callout).to_be_hidden()
    # A place on the height profile, by keyboard.
    page.page.focus("#profile-place")
    page.page.keyboard.press("End")
    expect(page.page.locator("#profile-words")).to_have_text(
        re.compile(r"^16\.0 km: \d+ m high, 0 m of climb to go$")
    )
    expect(page.page.locator("#arrivals-at")).to_have_text("Arrival times at 16.0 km")
    expect(page.page.locator("#profile .dots span")).to_have_count(1)
    page.page.click("#profile summary")
    cells = page.page.locator("#profile tr", has_text="Finish").locator("td")
    expect(cells.last).to_have_text("0 m")


def test_the_distance_to_me_is_shown_on_request_only(
    page: LivePage, context: BrowserContext, race: str
) -> None:
    context.grant_permissions(["geolocation"])
    context.set_geolocation({"latitude": 53.36, "longitude": -6.32})
    leader = open_race(page)
    page.star(leader).click()
    away = page.row(leader).locator(".away")
    expect(page.page.locator("#away")).to_be_visible()
    expect(away).to_have_text("")
    page.page.click("#away")
    expect(away).to_have_text(re.compile(r"^[\d.]+ k?m from you$"))
    page.page.click("#away")
    expect(away).to_have_text("")
    page.page.click("#stand")
    expect(page.page.locator("#callout-walk")).to_have_text(
        re.compile(r"^About \d+ min on foot")
    )
    # Each of the five laps passes it.
    expect(page.page.locator("#arrivals-at")).to_have_text("Arrivals here")


def test_the_big_screen_has_no_controls_and_rotates_its_view(
    page: LivePage, context: BrowserContext, race: str
) -> None:
    # The page rotates when the test calls this, instead of every 12 s.
    context.add_init_script(
        """const every = globalThis.setInterval;
           globalThis.setInterval = (what, ms, ...rest) => {
             if (ms !== 12_000) return every(what, ms, ...rest);
             globalThis.rotate = what;
           };
           // The socket waits for the map's library, however long it takes.
           const later = globalThis.setTimeout;
           globalThis.setTimeout = (what, ms, ...rest) =>
             ms === 3000 ? 0 : later(what, ms, ...rest);
           // Tiles, with whether the library had arrived.
           globalThis.tiles = [];
           const fetched = globalThis.fetch;
           globalThis.fetch = (url, ...rest) => {
             if (`${url}`.endsWith(".mvt")) tiles.push([url, Boolean(spectate.map())]);
             return fetched(url, ...rest);
           };"""
    )
    library: list[Route] = []
    context.route("**/maplibre-gl.mjs", lambda route: library.append(route))
    sockets: list[WebSocket] = []
    page.page.on("websocket", lambda socket: sockets.append(socket))
    with page.page.expect_request("**/*.mvt"):
        page.page.goto("/races/demo/?screen=1", wait_until="commit")
    assert not sockets
    library[0].continue_()
    page.wait_for_connection()
    page.page.wait_for_function("() => globalThis.rotate")
    for part in (".topbar", "#search", ".star", "#replay", "#fold"):
        expect(page.page.locator(part).first).to_be_hidden()
    selected_rows = page.page.locator(".runner.selected")
    # The demo race has a street map.
    page.page.wait_for_function(
        "() => spectate.map().queryRenderedFeatures("
        "{layers: ['streets-roads-minor']}).length > 0"
    )
    # The map's worker imports what the library has.
    worker = context.request.get("/static/vendor/maplibre-gl/maplibre-gl-worker.mjs")
    assert len(worker.body()) < 50_000
    # Those of the first view were requested while the library was loading, once.
    tiles = page.page.evaluate("() => tiles")
    assert not any(late for _, late in tiles)
    assert len({url for url, _ in tiles}) == len(tiles)
    # Each of the first three in turn, then all runners.
    for selected in (1, 1, 1, 0):
        page.page.evaluate("() => rotate()")
        expect(selected_rows).to_have_count(selected)
    # A user who moves the map stops the rotation.
    page.page.locator("#map canvas").focus()
    page.page.keyboard.press("ArrowUp")
    page.page.evaluate("() => { rotate(); rotate(); }")
    expect(selected_rows).to_have_count(0)


@contextlib.contextmanager
def different_site(body: str) -> Iterator[str]:
    """Serve a page of a different origin: localhost is not 127.0.0.1."""

    class Page(Handler):
        def do_GET(self) -> None:
            self.reply(200, body.encode(), {"Content-Type": "text/html"})

    with http_server(Page) as port:
        yield f"http://localhost:{port}/"


def test_a_race_in_a_frame_of_a_different_site_is_read_only(
    browser: Browser, web_server: Server, race: str
) -> None:
    context = browser.new_context()
    without_map(context)
    page = LivePage(context.new_page()).page
    with different_site(
        f'<iframe name="race" src="{web_server.url}/races/demo/?embed=1"></iframe>'
        f'<iframe name="page" src="{web_server.url}/races/demo/"></iframe>'
    ) as site:
        page.goto(site)
    frame = page.frame("race")
    assert frame is not None
    frame.wait_for_selector("#connection[data-state=open]", state="attached")
    expect(frame.locator(".runner")).not_to_have_count(0)
    expect(frame.locator(".topbar")).to_have_count(0)
    expect(frame.locator("a.whole")).to_have_attribute("target", "_blank")
    framed_page = page.frame("page")
    assert framed_page is not None
    framed_page.wait_for_url("chrome-error:**")
    context.close()


def test_the_list_needs_no_script(
    browser: Browser, web_server: Server, race: str
) -> None:
    context = browser.new_context(base_url=web_server.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/races/demo/")
    first = page.locator("#everyone .runner").first
    expect(first).to_be_visible()
    expect(first.locator(".distance")).to_have_text(re.compile(r"^\d+\.\d km$"))
    first.locator(".pick").click()
    expect(page).to_have_url(re.compile(r"/runners/[\w-]+/$"))
    context.close()
