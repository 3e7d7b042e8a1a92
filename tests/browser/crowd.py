"""5,000 moving runners at 1 Hz on a page in software-rendered Chromium.

In a minute no task of our code on the main thread takes over 100 ms, and the heap
does not grow. Then 50 followed runners who glide: within 10 % of the frame rate that
the same page has while nothing moves. `python -m tests.browser.crowd`; `--long` is the
minute.

The frames come from a websocket in the page itself, ready-made, so that what is
measured is the page and not a server beside it on the same machine.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS
from tests.servers import Server
from tests.services import chromium_path

RUNNERS, FOLLOWED = 5_000, 50
SECONDS, SECONDS_SHORT = 60, 10
# What is settled before the heap is looked at. Seconds.
WARM_UP = 10
LONGEST_TASK = 100.0  # ms
HEAP_GROWTH = 3_000_000  # bytes
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
      this.tell({type: "welcome", time: Date.now(), runner: null, heartbeat: 20});
    });
  }
  tell(message) { this.onmessage({data: JSON.stringify(message)}); }
  send(text) {
    const message = JSON.parse(text);
    if (message.type !== "follow") return;
    const runners = Array.from({length: %(runners)d}, (_, n) => {
      const [lat, lng] = place(n, 0);
      return {code: code(n), name: `Runner ${n}`, bib: String(n), colour: "#0072B2",
        state: "started", race: null, trail: "",
        fix: [Date.now(), Number(lat), Number(lng), 3.1, 90, null]};
    });
    this.tell({type: "snapshot", time: Date.now(), runners, races: [], truncated: [],
      more: false});
    globalThis.flow = setInterval(() => this.flow(), 1000);
  }
  flow() {
    // Written and not read with JSON: that would count as the page's own work.
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

# What takes long, and whose it is.
WATCH = """
globalThis.tasks = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    for (const script of entry.scripts) {
      tasks.push({ms: script.duration, from: script.sourceURL, by: script.invoker,
        name: script.sourceFunctionName, forced: script.forcedStyleAndLayoutDuration});
    }
  }
}).observe({type: "long-animation-frame", buffered: false});
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


@dataclass
class Report:
    """Milliseconds, bytes, frames a second."""

    longest_task: float
    tasks_over: int
    heap_growth: float
    frames_still: float
    frames_moving: float

    def faults(self) -> list[str]:
        faults = []
        if self.longest_task > LONGEST_TASK:
            faults.append(f"A task of ours took {self.longest_task:.0f} ms.")
        if self.heap_growth > HEAP_GROWTH:
            faults.append(f"The heap grew by {self.heap_growth / 1e6:.1f} MB.")
        if self.frames_moving < FRAME_SHARE * self.frames_still:
            faults.append("Gliding costs more than a tenth of the frames.")
        return faults


def heap(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"])


def is_ours(task: dict[str, Any]) -> bool:
    """Whether a script is the page's and not the map library's or this test's.

    Messages are handed over by this test's own timer, which is not told apart: it
    counts as ours.
    """
    return "/vendor/" not in task["from"]


def crowd(browser: Browser, url: str, seconds: int) -> Report:
    """Let the crowd run for a while, then fifty of them."""
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
    page.wait_for_timeout(WARM_UP * 1000)
    before = heap(session)
    page.evaluate(WATCH)
    page.wait_for_timeout(seconds * 1000)
    tasks = [task for task in page.evaluate("() => tasks") if is_ours(task)]
    growth = heap(session) - before
    for task in sorted(tasks, key=lambda task: -task["ms"])[:5]:
        print(task)
    still, moving = frame_rates(page, follows, max(5, seconds // 6))
    context.close()
    return Report(
        max((task["ms"] for task in tasks), default=0.0),
        sum(task["ms"] > LONGEST_TASK for task in tasks),
        growth,
        still,
        moving,
    )


def frame_rates(page: Page, follows: list[str], seconds: int) -> tuple[float, float]:
    """Return the frames a second while nothing moves, and while the followed do."""
    page.evaluate("() => clearInterval(globalThis.flow)")
    # Past all that is predicted.
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
    seconds = SECONDS if parser.parse_args().long else SECONDS_SHORT
    with Server(DEBUG="1") as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=CHROMIUM_FLAGS
        )
        report = crowd(browser, server.url, seconds)
        print(report)
        print("\n".join(report.faults()) or "as it must be")
        browser.close()


if __name__ == "__main__":
    main()
