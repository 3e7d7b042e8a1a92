"""Publish from a browser whose server is killed and whose page is reloaded and closed.

In the end, every fix that the page has put into its storage is in the database exactly
once. The short form, with one kill, is tests/browser/test_browser_phone.py.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.factories.people import make_phone
from tests.factories.positions import stored_times
from tests.faults.by_hand import new_parser
from tests.faults.randomness import rng, use_seed
from tests.servers import Server
from tests.services import CHROMIUM_FLAGS, chromium_path

# The faults, and how often each occurs.
FAULTS = {"kill": 12, "reload": 8, "close": 6, "offline": 6}
# Time without a fault between two faults.
CALM_S = (1.0, 5.0)
# Time for which the server or the connection is down.
DOWN_S = (0.5, 6.0)
ACKED_TIMEOUT_S = 90.0
# Logs each fix that is committed to the page's storage.
SPY = """
const put = IDBObjectStore.prototype.put;
IDBObjectStore.prototype.put = function (row, ...key) {
  if (this.name === "fixes") {
    this.transaction.addEventListener("complete", () => console.debug(`kept ${row.t}`));
  }
  return put.call(this, row, ...key);
};
"""


@dataclass
class BrowserReport:
    faults: dict[str, int]
    seconds: float = 0.0
    kept: int = 0
    stored: int = 0
    lost: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)


class Run:
    """A browser that publishes the positions of a moving runner."""

    def __init__(self, server: Server, context: BrowserContext) -> None:
        self.server, self.context = server, context
        self.kept: set[int] = set()
        self.step = 0
        self.page = self.open(
            "/share/#token=" + server.database(make_phone, "bob", "Bob")
        )
        self.page.click("#offer-yes")
        self.page.click("#start")

    def open(self, path: str) -> Page:
        page = self.context.new_page()
        page.on("console", self._collect_console)
        page.goto(path)
        return page

    def _collect_console(self, message: ConsoleMessage) -> None:
        word, _, t = message.text.partition(" ")
        if word == "kept":
            self.kept.add(int(t))

    def move_for(self, seconds: float) -> None:
        """Move the runner for some seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.step += 1
            lat = 53.35 + self.step / 1e5
            self.context.set_geolocation(
                {"latitude": lat, "longitude": -6.33, "accuracy": 5}
            )
            self.page.wait_for_timeout(300)

    def kill(self) -> None:
        self.server.kill()
        self.move_for(rng.uniform(*DOWN_S))
        self.server.start()

    def reload(self) -> None:
        self.page.reload()

    def close(self) -> None:
        self.page.close()
        self.page = self.open("/share/")

    def offline(self) -> None:
        self.context.set_offline(True)
        self.move_for(rng.uniform(*DOWN_S))
        self.context.set_offline(False)

    def end(self) -> None:
        """Stop sharing and wait until all fixes are acked."""
        self.page.click("#stop")
        self.page.locator("#detail").get_by_text("Everything has arrived.").wait_for(
            timeout=ACKED_TIMEOUT_S * 1000
        )


def browser_phone() -> BrowserReport:
    report = BrowserReport(FAULTS)
    started = time.monotonic()
    faults = [name for name, times in FAULTS.items() for _ in range(times)]
    rng.shuffle(faults)
    with Server(DEBUG="1") as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=CHROMIUM_FLAGS
        )
        context = browser.new_context(
            base_url=server.url, permissions=["geolocation"], service_workers="allow"
        )
        context.add_init_script(SPY)
        run = Run(server, context)
        for fault in faults:
            run.move_for(rng.uniform(*CALM_S))
            getattr(run, fault)()
        run.end()
        browser.close()
        times = Counter(server.database(stored_times)["bob"])
    report.seconds = round(time.monotonic() - started, 1)
    report.kept, report.stored = len(run.kept), times.total()
    report.lost = sorted(run.kept - times.keys())
    report.twice = [t for t, count in times.items() if count > 1]
    return report


if __name__ == "__main__":
    use_seed(new_parser().parse_args().seed)
    found = browser_phone()
    print(json.dumps(asdict(found)))
    sys.exit(bool(found.lost or found.twice))
