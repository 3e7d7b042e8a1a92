"""The first view of a race of 500 on a line of 1.5 Mbit/s with round trips of 300 ms.

The list with positions is there in 2.5 s, the map in 5 s, in less than 1 MB.
`python -m tests.browser.first_view`; `--long` takes the median of five.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass

from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS
from tests.browser.line import slow_line
from tests.factories.races import make_long_race
from tests.servers import Server
from tests.services import chromium_path

RUNNERS = 500
DOWN, UP = 1_500_000 / 8, 750_000 / 8  # bytes a second
ROUND_TRIP = 0.3  # seconds
LIST_BY, MAP_BY, BYTES = 2.5, 5.0, 1_000_000

# When the first list of positions and the first map were on the screen, and when the
# list was one that goes on, ms after the address was entered.
WATCH = """
globalThis.seen = {};
const watch = setInterval(() => {
  const rows = document.querySelectorAll("#everyone .runner[data-state] .distance b");
  const isPainted = performance.getEntriesByName("first-contentful-paint").length > 0;
  if (!seen.list && isPainted && rows.length >= %d) seen.list = performance.now();
  const star = document.querySelector("#everyone .star");
  if (!seen.live && star) seen.live = performance.now();
  const map = globalThis.spectate?.map();
  if (!seen.map && map?.getLayer("crowd") && map.queryRenderedFeatures(
      {layers: ["crowd", "crowd-clusters"]}).length > 0) {
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
    map_at: float
    received: int

    def __str__(self) -> str:
        return (
            f"list {self.list_at:.2f} s, live {self.live_at:.2f} s, "
            f"map {self.map_at:.2f} s, "
            f"{self.received / 1000:.0f} kB"
        )


def first_view(browser: Browser, server: Server) -> View:
    """Look at the race as somebody does who was never here before."""
    with slow_line(server.port, down=DOWN, up=UP, round_trip=ROUND_TRIP) as line:
        context = browser.new_context(viewport={"width": 390, "height": 844})
        context.add_init_script(WATCH % RUNNERS)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{line.port}/races/long/", wait_until="commit")
        page.wait_for_function("() => globalThis.seen?.map", timeout=60_000)
        seen = page.evaluate("() => globalThis.seen")
        received = line.received
        context.close()
    return View(seen["list"] / 1000, seen["live"] / 1000, seen["map"] / 1000, received)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true")
    times = 5 if parser.parse_args().long else 1
    with Server() as server, sync_playwright() as playwright:
        # Found when it starts.
        server.stop()
        server.manage("collectstatic", "--no-input", "--verbosity=0")
        server.start()
        server.database(make_long_race, RUNNERS)
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=CHROMIUM_FLAGS
        )
        views = [first_view(browser, server) for _ in range(times)]
        for view in views:
            print(view)
        median = View(
            statistics.median(view.list_at for view in views),
            statistics.median(view.live_at for view in views),
            statistics.median(view.map_at for view in views),
            max(view.received for view in views),
        )
        kept = (
            median.list_at < LIST_BY
            and median.map_at < MAP_BY
            and median.received < BYTES
        )
        print(f"median: {median}: {'as it must be' if kept else 'NOT as it must be'}")
        browser.close()


if __name__ == "__main__":
    main()
