"""Measure the first view of a race of 500 at 1.5 Mbit/s and a round trip of 300 ms.

The list with positions is visible after 2 s, the map with runners and streets after
5 s, with at most 1.2 MB. Run `python -m tests.browser.first_view`; `--long` prints the
median of five, `--requests` when each file was requested and had arrived.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass

from playwright.sync_api import Browser

from tests.browser.pages import chromium_browser
from tests.browser.slow_proxy import slow_proxy
from tests.factories.races import make_race_on_streets
from tests.servers import Server

RUNNERS = 500
DOWN_BYTES_PER_S = 1_500_000 / 8
UP_BYTES_PER_S = 750_000 / 8
ROUND_TRIP_S = 0.3
LIST_LIMIT_S = 2.0
MAP_LIMIT_S = 5.0
LIMIT_BYTES = 1_200_000

# Records when the first list of positions, a live list, the runners on the map and the
# streets below them were visible, in ms after the navigation.
RECORD_TIMES = """
globalThis.seen = {};
const watch = setInterval(() => {
  const rows = document.querySelectorAll("#everyone .runner[data-state] .distance b");
  const isPainted = performance.getEntriesByName("first-contentful-paint").length > 0;
  if (!seen.list && isPainted && rows.length >= %d) seen.list = performance.now();
  const star = document.querySelector("#everyone .star");
  if (!seen.live && star) seen.live = performance.now();
  const map = globalThis.spectate?.map();
  const isDrawn = (...layers) => map?.getLayer(layers[0]) &&
    map.queryRenderedFeatures({layers}).length > 0;
  if (!seen.crowd && isDrawn("crowd", "crowd-clusters")) seen.crowd = performance.now();
  if (seen.crowd && isDrawn("streets-roads-minor")) {
    seen.map = performance.now();
    clearInterval(watch);
  }
}, 50);
"""


@dataclass
class View:
    """Seconds and bytes."""

    list_at: float
    live_at: float
    crowd_at: float
    map_at: float
    received: int

    def __str__(self) -> str:
        return (
            f"list {self.list_at:.2f} s, live {self.live_at:.2f} s, "
            f"crowd {self.crowd_at:.2f} s, map {self.map_at:.2f} s, "
            f"{self.received / 1000:.0f} kB"
        )


# When each file was asked for and had arrived, in ms, and its size.
REQUESTS = r"""
() => performance.getEntriesByType("resource")
  .sort((one, other) => one.responseEnd - other.responseEnd)
  .map((of) => [of.requestStart, of.responseEnd, of.transferSize].map(
    (value) => value.toFixed().padStart(7)).join("") + "  " + new URL(of.name).pathname)
  .join("\n")
"""


def first_view(browser: Browser, server: Server, *, show_requests: bool) -> View:
    """Open the race as a new visitor does."""
    with slow_proxy(
        server.port, down=DOWN_BYTES_PER_S, up=UP_BYTES_PER_S, round_trip=ROUND_TRIP_S
    ) as proxy:
        context = browser.new_context(viewport={"width": 390, "height": 844})
        context.add_init_script(RECORD_TIMES % RUNNERS)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{proxy.port}/races/long/", wait_until="commit")
        page.wait_for_function("() => globalThis.seen?.map", timeout=60_000)
        seen = page.evaluate("() => globalThis.seen")
        received = proxy.received
        if show_requests:
            print(page.evaluate(REQUESTS))
        context.close()
    at = {f"{name}_at": ms / 1000 for name, ms in seen.items()}
    return View(**at, received=received)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--requests", action="store_true")
    options = parser.parse_args()
    times = 5 if options.long else 1
    with Server() as server, chromium_browser() as browser:
        # The server looks for static files at its start.
        server.stop()
        server.manage("collectstatic", "--no-input", "--verbosity=0")
        server.start()
        server.database(make_race_on_streets, RUNNERS)
        views = [
            first_view(browser, server, show_requests=options.requests)
            for _ in range(times)
        ]
        for view in views:
            print(view)
        median = View(
            statistics.median(view.list_at for view in views),
            statistics.median(view.live_at for view in views),
            statistics.median(view.crowd_at for view in views),
            statistics.median(view.map_at for view in views),
            max(view.received for view in views),
        )
        within_limits = (
            median.list_at <= LIST_LIMIT_S
            and median.map_at <= MAP_LIMIT_S
            and median.received <= LIMIT_BYTES
        )
        print(
            f"median: {median}: {'as expected' if within_limits else 'NOT as expected'}"
        )


if __name__ == "__main__":
    main()
