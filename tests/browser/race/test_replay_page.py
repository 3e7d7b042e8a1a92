"""The replay of a race, also by a shared address or without a connection."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.pages import LivePage, eventually, proxy_to, without_map
from tests.browser.race.scenes import make_finishers, open_race, progress_of, show_time
from tests.servers import Server

# The replay advances when the test calls `pass`, which returns by how many ms.
REPLAY_CLOCK = """
const every = globalThis.setInterval;
const running = performance.now.bind(performance);
let ahead = 0;
let stopped = null;
performance.now = () => stopped ?? running() + ahead;
globalThis.setInterval = (what, ms, ...rest) => {
  if (ms !== 100) return every(what, ms, ...rest);
  globalThis.pass = (seconds) => {
    const slider = document.querySelector("#player-time");
    stopped = performance.now();
    what();
    const before = Number(slider.value);
    ahead += 1000 * seconds;
    stopped += 1000 * seconds;
    what();
    stopped = null;
    return Number(slider.value) - before;
  };
};
"""


# Whether no bar and no button is over any point of the course.
IS_COURSE_FREE = """() => {
  const map = spectate.map();
  const {left, top} = map.getContainer().getBoundingClientRect();
  return spectate.store.races.get("demo").line.every((point) => {
    const {x, y} = map.project(point);
    return document.elementFromPoint(left + x, top + y) === map.getCanvas();
  });
}"""


KEPT_PAGES = """async () => {
  const kept = ["/races/kept/", "/live.json?race=kept"].map((url) => caches.match(url));
  const [html, picture] = await Promise.all(kept);
  return html && picture ? [await html.text(), await picture.text()] : null;
}"""


KEPT_REPLAY = """async () => {
  const {start} = JSON.parse(document.querySelector("#page").textContent).race;
  const first = start - (start % 300_000);
  return Boolean(await caches.match(`/races/kept/replay.json?from=${first}`));
}"""


KEPT_HOME = """async () => {
  const kept = ["/", "/live.json?public=1"].map((url) => caches.match(url));
  return (await Promise.all(kept)).every(Boolean);
}"""


def tail_of(page: LivePage) -> float:
    """Return the total length of all trails on the map, in 0.0001 degrees."""
    length: float = page.page.evaluate(
        """async () => {
             const {features} = await spectate.map().getSource("trails").getData();
             return features.flatMap(({geometry: {coordinates: line}}) =>
               line.slice(1).map(([lng, lat], n) =>
                 1e4 * Math.hypot(lng - line[n][0], lat - line[n][1])
               )
             ).reduce((sum, part) => sum + part, 0);
           }"""
    )
    return length


def test_a_race_is_replayed(page: LivePage, context: BrowserContext, race: str) -> None:
    context.add_init_script(REPLAY_CLOCK)
    urls: list[str] = []
    page.page.on("request", lambda request: urls.append(request.url))
    leader, later = open_race(page), race
    page.star(leader).click()
    now = progress_of(page, leader)
    assert now is not None and now > 1
    page.page.click("#replay")
    expect(page.page.locator("#player")).to_be_visible()
    # Two minutes after the start, and paused there.
    page.page.click("#player-play")
    start = int(page.page.get_attribute("#player-time", "min") or "")
    words = page.page.locator("#player-words")
    show_time(page, start + 120_000)
    expect(words).to_contain_text("2:00")
    eventually(lambda: 0.1 < (progress_of(page, leader) or 0) < now / 2)
    chunks = {url for url in urls if "replay.json" in url}
    assert 0 < len(chunks) <= 3, "It loads what it shows, not the race."
    # With one common start, runners of a later wave are on the course too.
    expect(page.row(later).locator(".distance b")).to_have_count(0)
    page.page.click("#player-mass")
    eventually(lambda: (progress_of(page, later) or 0) > 0.1)

    # Jump to the time of the starred runner at a checkpoint, with a longer trail.
    page.page.select_option("#player-jump", label="Cedars")
    expect(words).not_to_have_text(re.compile("^2:00"))
    eventually(lambda: tail_of(page) > 5)
    short = tail_of(page)
    page.page.select_option("#player-tail", "5")
    eventually(lambda: tail_of(page) > 2 * short)

    # The replay is paused until it is played. At 120x, 1.5 s are three minutes.
    assert page.page.evaluate("() => pass(1.5)") == 0
    page.page.select_option("#player-speed", "120")
    page.page.click("#player-play")
    eventually(lambda: page.page.evaluate("() => pass(1.5)") == 180_000)
    # Nothing covers the course on the smallest phone.
    page.page.set_viewport_size({"width": 320, "height": 640})
    page.page.click("#fit")
    eventually(lambda: page.page.evaluate(IS_COURSE_FREE))
    page.page.click("#player-live")
    expect(page.page.locator("#player")).to_be_hidden()
    eventually(lambda: progress_of(page, leader) == now)


def test_a_shared_address_opens_with_the_same_runner_place_and_time(
    page: LivePage, context: BrowserContext, web_server: Server
) -> None:
    without_map(context)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    web_server.database(make_finishers, "shared")
    page.open("/races/shared/")
    # The places are offered to visitors who follow somebody.
    page.star("cleo-shared").click()
    page.row("cleo-shared").locator(".pick").click()
    page.page.select_option("#places", label="7.5 km")
    page.page.click("#replay")
    page.page.click("#player-play")
    start = int(page.page.get_attribute("#player-time", "min") or "")
    show_time(page, start + 600_000)
    page.page.click("#share")
    expect(page.page.locator("#notice")).to_have_text("The link is copied.")
    url = page.page.evaluate("navigator.clipboard.readText()")
    assert "runner=cleo-shared" in url and "place=48.06" in url

    other = LivePage(context.new_page())
    other.open(url)
    picked = other.row("cleo-shared").locator(".pick")
    expect(picked).to_have_attribute("aria-current", "true")
    other.star("cleo-shared").wait_for()
    expect(other.page.locator("#arrivals-at")).to_contain_text("7.5 km")
    expect(other.page.locator("#player-words")).to_contain_text("10:00")
    assert other.errors == []


def test_a_reload_without_a_connection_shows_the_last_picture(
    browser: Browser, web_server: Server
) -> None:
    web_server.database(make_finishers, "kept", "public")
    with proxy_to(web_server) as proxy:
        context = browser.new_context(base_url=proxy.url, locale="en-IE")
        without_map(context)
        page = LivePage(context.new_page())
        page.open("/races/kept/")
        eventually(lambda: page.page.evaluate(KEPT_PAGES) is not None)
        html, picture = page.page.evaluate(KEPT_PAGES)
        # Names are in the picture only, which is replaced when somebody hides.
        assert "Cleo" not in html and "Cleo" in picture
        page.page.click("#replay")
        eventually(lambda: page.page.evaluate(KEPT_REPLAY))
        page.page.goto("/")
        eventually(lambda: page.page.evaluate(KEPT_HOME))
        with proxy.cut():
            page.page.reload()
            expect_picture(page, "cleo-kept")
            page.page.goto("/races/kept/#replay")
            expect_picture(page, "cleo-kept")
            # It waits at the start for the first minutes, which were shown before.
            expect(page.page.locator("#player-words")).to_be_visible()
            expect(page.page.locator("#player-words")).not_to_contain_text("0:00 ·")
        context.close()


def expect_picture(page: LivePage, code: str) -> None:
    """Expect the picture of an earlier time with a runner."""
    connection = page.page.locator("#connection")
    expect(connection).to_contain_text("What you see is from")
    expect(page.row(code)).to_be_visible()
