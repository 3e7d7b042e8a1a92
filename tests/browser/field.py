"""Measure the race page of a marathon's field in Chromium: list, search and filters.

16,002 runners without a phone are estimated between two mats, in waves and categories.
No task of the main thread takes 100 ms of CPU time or more while the list is shown,
somebody searches, and chooses a category, a wave and a club. CPU time is that of the
thread, which other load does not change. Run `python -m tests.browser.field`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone
from playwright.sync_api import Browser, Page

import tests.servers  # noqa: F401  it sets Django up
from runners.models import Checkpoint, Entry, Race, Wave
from runners.simulation.field import entries_create
from runners.timing.rows import rows_update
from tests.browser.pages import PATIENCE_MS, chromium_browser
from tests.factories.races import WINDING
from tests.servers import Server

RUNNERS = 16_002
LENGTH = 42_195
LONGEST_TASK_MS = 100.0
CATEGORIES = [f"{sex}{age}" for sex in "MW" for age in range(20, 80, 5)]
WAVES = ["Red", "White", "Blue", "Yellow"]
CLUBS = 150
LOADED = f"""() => document.querySelector("#everyone .count").textContent == {RUNNERS}
  && globalThis.spectate.map()?.queryRenderedFeatures(
    {{layers: ["crowd", "crowd-clusters"]}}).length > 0"""
CATEGORIES_OF_TRACE = ["devtools.timeline", "disabled-by-default-devtools.timeline"]


def make_field() -> None:
    """Make a race whose runners have passed a mat within the last half hour."""
    now = timezone.now()
    race = Race.objects.create(
        slug="field",
        name="Field",
        line=WINDING,
        length=LENGTH,
        start=now - timedelta(hours=2),
        ends=now + timedelta(hours=6),
    )
    mats = [
        Checkpoint.objects.create(race=race, name=f"{km} km", distance=km * 1000)
        for km in range(5, 45, 5)
    ]
    waves = [Wave(race=race, name=name, start=race.start) for name in WAVES]
    Wave.objects.bulk_create(waves)
    entries = entries_create(race=race, size=RUNNERS)
    for number, entry in enumerate(entries):
        entry.wave = waves[number * len(WAVES) // RUNNERS]
        entry.category = CATEGORIES[number * 7 % len(CATEGORIES)]
        entry.club = f"Club {number * 11 % CLUBS}"
        entry.status, entry.started_at = Entry.Status.STARTED, race.start
        entry.estimate = estimate(number, mats, now.timestamp())
    rows_update(
        entries, ("wave", "category", "club", "status", "started_at", "estimate")
    )


def estimate(number: int, mats: list[Checkpoint], now: float) -> dict[str, Any]:
    """Return an estimate as in a snapshot, of a runner 0 to 25 minutes after a mat."""
    at = 5_000 * (1 + number % 6)
    seconds = [(s, at + 3 * s) for s in range(0, 1_501, 150)]
    nodes = [[s, p, at + (p - at) * 9 // 10, p + s // 9] for s, p in seconds]
    t = round(1000 * (now - number * 1_500 / RUNNERS))
    return {"t": t, "checkpoint": mats[number % 6 + 1].pk, "nodes": nodes}


def longest_task(browser: Browser, page: Page, act: Callable[[], None]) -> float:
    """Return the longest task of the page's main thread during an act, ms of CPU."""
    browser.start_tracing(page=page, categories=CATEGORIES_OF_TRACE)
    act()
    events = json.loads(browser.stop_tracing())["traceEvents"]
    own = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "FunctionCall"
        and "/static/" in event["args"].get("data", {}).get("url", "")
    }
    named = {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in events
        if event["name"] == "thread_name"
    }
    return max(
        (
            event.get("tdur", 0) / 1000
            for event in events
            if event["name"] == "RunTask"
            and (event["pid"], event["tid"]) in own
            and named.get((event["pid"], event["tid"])) == "CrRendererMain"
        ),
        default=0.0,
    )


def acts(page: Page) -> dict[str, Callable[[], None]]:
    """Return what a visitor does, by name."""

    def search(text: str) -> None:
        page.fill("#search", "")
        page.locator("#search").press_sequentially(text, delay=150)
        page.wait_for_timeout(500)

    def choose(name: str, value: str) -> None:
        with page.expect_response(lambda answer: "standings" in answer.url):
            page.select_option(f"#groups [name={name}]", value)
        page.wait_for_function(
            f"() => document.querySelector('#everyone .count').textContent < {RUNNERS}"
        )
        page.wait_for_timeout(500)
        page.select_option(f"#groups [name={name}]", "")
        page.wait_for_timeout(500)

    def open_groups() -> None:
        page.click("#groups summary")
        page.wait_for_selector(
            f"#groups option >> text={CATEGORIES[0]}", state="attached"
        )

    return {
        "the list for 12 s": lambda: page.wait_for_timeout(12_000),
        "search for a name": lambda: search("runner 1234"),
        "search for a bib": lambda: search("1600"),
        "search for nobody": lambda: search("xyz"),
        "end the search": lambda: search(" "),
        "open the groups": open_groups,
        "a category": lambda: choose("category", CATEGORIES[3]),
        "a wave": lambda: choose("wave", WAVES[1]),
        "a club": lambda: choose("club", "Club 7"),
    }


def main() -> None:
    with Server(DEBUG="1") as server, chromium_browser() as browser:
        server.database(make_field)
        page = browser.new_page(
            base_url=server.url, viewport={"width": 1280, "height": 800}
        )
        page.set_default_timeout(PATIENCE_MS)
        began = time.monotonic()
        page.goto("/races/field/")
        page.wait_for_function(LOADED, polling=1000)
        print(f"all shown after {time.monotonic() - began:.1f} s")
        page.wait_for_timeout(3_000)
        late = []
        for name, act in acts(page).items():
            longest = longest_task(browser, page, act)
            print(f"{name}: {longest:.0f} ms", flush=True)
            if longest >= LONGEST_TASK_MS:
                late.append(name)
        print("too long: " + ", ".join(late) if late else "as expected")


if __name__ == "__main__":
    main()
