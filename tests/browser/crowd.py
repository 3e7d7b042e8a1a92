"""Measure a page with 5,000 moving runners at 1 Hz in software-rendered Chromium.

In one minute no task of the project's code takes over 50 ms of CPU time on the main
thread, with streets below the runners, and the heap does not grow. Then 50 followed
runners move smoothly, at 90 % or more of the frame rate of the same page without
movement. Run `python -m tests.browser.crowd`; `--long` measures the whole minute.

The page has a fake websocket with prepared frames, so that a server on the same machine
does not affect the measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from playwright.sync_api import Browser, CDPSession, Page

from tests.browser.pages import chromium_browser
from tests.factories.races import make_race_on_streets
from tests.servers import Server

RUNNERS = 5_000
FOLLOWED = 50
DURATION_S = 60
SHORT_DURATION_S = 10
# Time before the heap is measured first.
WARM_UP_S = 10
LONGEST_TASK_MS = 50.0
HEAP_GROWTH_BYTES = 3_000_000
FRAME_SHARE = 0.9

SOCKET = """
localStorage.setItem("spectate.follows", JSON.stringify(%(follows)s));
const code = (n) => `r${n}`;
const place = (n, s) => {
  const turn = (n / %(runners)d) * 6.283 + s / 3000;
  return [53.35 + 0.03 * Math.sin(turn), -6.3 + 0.05 * Math.cos(turn)].map(
    (degrees) => degrees.toFixed(5)
  );
};
let cycle = 0;
class FakeSocket extends EventTarget {
  static OPEN = 1;
  readyState = 0;
  constructor() {
    super();
    setTimeout(() => {
      this.readyState = 1;
      this.onopen();
      this.deliver({type: "welcome", time: Date.now(), runner: null, heartbeat: 20});
    });
  }
  deliver(message) { this.onmessage({data: JSON.stringify(message)}); }
  send(text) {
    const message = JSON.parse(text);
    if (message.type !== "follow") return;
    const runners = Array.from({length: %(runners)d}, (_, n) => {
      const [lat, lng] = place(n, 0);
      return {code: code(n), name: `Runner ${n}`, bib: String(n), colour: "#0072B2",
        state: "started", race: null, trail: "",
        fix: [Date.now(), Number(lat), Number(lng), 3.1, 90, null]};
    });
    this.deliver({type: "snapshot", time: Date.now(), runners, races: [], truncated: [],
      more: false});
    globalThis.flow = setInterval(() => this.flow(), 1000);
  }
  flow() {
    // Built without JSON.stringify, which would count as work of the page.
    const s = (cycle += 1);
    const now = Date.now();
    const rows = Array.from({length: globalThis.flowing ?? %(runners)d}, (_, n) => {
      const [lat, lng] = place(n, s);
      return `["${code(n)}",${now},${lat},${lng},3.1,90,null]`;
    });
    const data =
      `{"type":"positions","time":${now},"merged":0,"fixes":[${rows.join()}]}`;
    setTimeout(() => this.onmessage({data}));
  }
  close() {}
}
globalThis.WebSocket = FakeSocket;
"""

FRAMES = """
(seconds) => new Promise((resolve) => {
  const map = globalThis.spectate.map();
  const until = performance.now() + seconds * 1000;
  let frames = 0;
  map.on("render", () => {
    frames += 1;
    if (performance.now() < until) map.triggerRepaint();
  });
  map.triggerRepaint();
  setTimeout(() => resolve(frames / seconds), seconds * 1000);
})
"""


class Task(NamedTuple):
    """CPU time and the place of its function."""

    ms: float
    where: str


@dataclass
class Report:
    """Durations in milliseconds, bytes and frames per second."""

    longest_task: float
    tasks_over: int
    heap_growth: float
    frames_still: float
    frames_moving: float

    def faults(self) -> list[str]:
        faults = []
        if self.longest_task > LONGEST_TASK_MS:
            faults.append(f"A task of ours took {self.longest_task:.0f} ms.")
        if self.heap_growth > HEAP_GROWTH_BYTES:
            faults.append(f"The heap grew by {self.heap_growth / 1e6:.1f} MB.")
        if self.frames_moving < FRAME_SHARE * self.frames_still:
            faults.append("Gliding costs more than a tenth of the frames.")
        return faults


def heap(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"])


@contextlib.contextmanager
def recorded_tasks(browser: Browser, page: Page) -> Iterator[list[Task]]:
    """Record the calls of the project's code by the page's event loop, longest first.

    They are timed in CPU time of their thread, which other load does not change. A
    timer of this script delivers the messages; it cannot be distinguished, and counts.
    """
    tasks: list[Task] = []
    browser.start_tracing(page=page, categories=["devtools.timeline"])
    yield tasks
    for event in json.loads(browser.stop_tracing())["traceEvents"]:
        of = event.get("args", {}).get("data", {})
        if event["name"] == "FunctionCall" and "/vendor/" not in of.get("url", ""):
            where = f"{of.get('url')}:{of.get('lineNumber')}"
            tasks.append(Task(event.get("tdur", 0) / 1000, where))
    tasks.sort(reverse=True)


def crowd(browser: Browser, url: str, seconds: int) -> Report:
    """Measure the page with all runners moving, then with fifty."""
    context = browser.new_context(base_url=url, viewport={"width": 1280, "height": 800})
    follows = [f"r{n * RUNNERS // FOLLOWED}" for n in range(FOLLOWED)]
    context.add_init_script(SOCKET % {"runners": RUNNERS, "follows": follows})
    page = context.new_page()
    page.goto("/")
    page.wait_for_function(
        "() => globalThis.spectate?.map()?.queryRenderedFeatures("
        "{layers: ['crowd', 'crowd-clusters']}).length > 0",
        timeout=120_000,
        polling=1000,
    )
    session = context.new_cdp_session(page)
    page.wait_for_timeout(WARM_UP_S * 1000)
    before = heap(session)
    with recorded_tasks(browser, page) as tasks:
        page.wait_for_timeout(seconds * 1000)
    growth = heap(session) - before
    for task in tasks[:5]:
        print(task)
    still, moving = frame_rates(page, follows, max(5, seconds // 6))
    context.close()
    return Report(
        tasks[0].ms,
        sum(task.ms > LONGEST_TASK_MS for task in tasks),
        growth,
        still,
        moving,
    )


def frame_rates(page: Page, follows: list[str], seconds: int) -> tuple[float, float]:
    """Return frames per second without movement, and with followed runners moving."""
    page.evaluate("() => clearInterval(globalThis.flow)")
    # A delay longer than any prediction.
    page.wait_for_timeout(12_000)
    still = float(page.evaluate(FRAMES, seconds))
    page.evaluate(
        """(codes) => {
          const {store} = globalThis.spectate;
          globalThis.flow = setInterval(() => {
            const now = Date.now();
            store.applyPositions(codes.map((code) => {
              const {fix} = store.runners.get(code);
              return [code, now, fix.lat + 0.00002, fix.lng + 0.00002, 3.1, 45, null];
            }));
          }, 1000);
        }""",
        follows,
    )
    page.wait_for_timeout(4_000)
    return still, float(page.evaluate(FRAMES, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true")
    seconds = DURATION_S if parser.parse_args().long else SHORT_DURATION_S
    with Server(DEBUG="1") as server, chromium_browser() as browser:
        # The page of all races has the streets of those that are on.
        server.database(make_race_on_streets, 1)
        report = crowd(browser, server.url, seconds)
        print(report)
        print("\n".join(report.faults()) or "as expected")


if __name__ == "__main__":
    main()
