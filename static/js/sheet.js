// On a phone the list is a sheet over the map, with three stops.

const STOPS = ["peek", "half", "full"];
// A flick this fast goes to the next stop whatever the distance. px a ms.
const FLICK = 0.5;
// Movement below this is a tap. px.
const TAP = 6;
// What stays free above a full sheet, so that it still reads as one. px.
const TOP = 56;

/** The bottom sheet; on a wide screen it stands still. `onMove(visible px)`. */
export class Sheet {
  #panel = document.querySelector("#panel");
  #grip = document.querySelector("#grip");
  #head = document.querySelector("#head");
  #narrow = matchMedia("(max-width: 899px)");
  #stop = "peek";
  #onMove;
  #drag = null;

  constructor(onMove) {
    this.#onMove = onMove;
    for (const handle of [this.#grip, this.#head]) {
      handle.addEventListener("pointerdown", (event) => this.#start(event));
      handle.addEventListener("pointermove", (event) => this.#move(event));
      handle.addEventListener("pointerup", (event) => this.#end(event));
      handle.addEventListener("pointercancel", (event) => this.#end(event));
    }
    this.#grip.addEventListener("keydown", (event) => this.#key(event));
    // From a keyboard or a screen reader; a tap has been dealt with as a pointer.
    this.#grip.addEventListener("click", (event) => event.detail === 0 && this.#next());
    document.querySelector("#search").addEventListener("focus", () => this.go("full"));
    this.#narrow.addEventListener("change", () => this.go(this.#stop));
    addEventListener("resize", () => this.go(this.#stop));
    new ResizeObserver(() => this.#drag || this.go(this.#stop)).observe(this.#head);
  }

  /** Go to a stop: peek, half or full. */
  go(stop) {
    this.#stop = stop;
    this.#panel.dataset.stop = stop;
    this.#grip.setAttribute("aria-expanded", String(stop !== "peek"));
    this.#show(this.#narrow.matches ? this.#heights()[stop] : 0);
  }

  /** Go at least as high as a stop. */
  raise(stop) {
    if (STOPS.indexOf(stop) > STOPS.indexOf(this.#stop)) this.go(stop);
  }

  #heights() {
    const peek = this.#grip.offsetHeight + this.#head.offsetHeight;
    const full = innerHeight - TOP;
    return { peek, half: Math.max(peek, Math.round(innerHeight * 0.48)), full };
  }

  #show(visible) {
    const { full, half } = this.#heights();
    const root = document.documentElement.style;
    root.setProperty("--sheet", `${visible}px`);
    root.setProperty("--sheet-full", `${full}px`);
    // Above half there is no map left to make room on.
    this.#onMove(Math.min(visible, half));
  }

  #start(event) {
    if (!this.#narrow.matches || event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    const visible = this.#heights()[this.#stop];
    this.#drag = { from: event.clientY, visible, now: visible, last: event, speed: 0 };
  }

  #move(event) {
    const drag = this.#drag;
    if (!drag) return;
    const past = Math.max(1, event.timeStamp - drag.last.timeStamp);
    drag.speed = (drag.last.clientY - event.clientY) / past;
    drag.last = event;
    const { peek, full } = this.#heights();
    drag.now = Math.min(full, Math.max(peek, drag.visible + drag.from - event.clientY));
    if (Math.abs(drag.from - event.clientY) < TAP) return;
    this.#panel.classList.add("dragging");
    document.documentElement.style.setProperty("--sheet", `${drag.now}px`);
  }

  #end(event) {
    const drag = this.#drag;
    if (!drag) return;
    this.#drag = null;
    this.#panel.classList.remove("dragging");
    if (Math.abs(drag.from - event.clientY) < TAP) {
      if (event.type === "pointerup") this.#next();
      return;
    }
    const heights = this.#heights();
    const nearest = STOPS.toSorted(
      (a, b) => Math.abs(heights[a] - drag.now) - Math.abs(heights[b] - drag.now),
    )[0];
    if (Math.abs(drag.speed) < FLICK) return this.go(nearest);
    const step = drag.speed > 0 ? 1 : -1;
    this.go(STOPS[Math.min(2, Math.max(0, STOPS.indexOf(this.#stop) + step))]);
  }

  #key({ key }) {
    const step = { ArrowUp: 1, ArrowDown: -1 }[key];
    if (!step) return;
    this.go(STOPS[Math.min(2, Math.max(0, STOPS.indexOf(this.#stop) + step))]);
  }

  #next() {
    this.go(STOPS[(STOPS.indexOf(this.#stop) + 1) % STOPS.length]);
  }
}
