// The list on a phone: a sheet over the map with three stops.

import { find } from "./dom.js";

/** @typedef {"peek" | "half" | "full"} Stop */

/** @type {Stop[]} */
const STOPS = ["peek", "half", "full"];
// A flick of this speed goes to the next stop, regardless of its distance.
const FLICK_PX_PER_MS = 0.5;
// Shorter movements are taps.
const TAP_PX = 6;
// The part of the page that stays visible above a full sheet.
const TOP_PX = 56;
// The least part of the list in a half sheet: its first heading and what is below it.
const LIST_PX = 128;

/**
 * `from`: where the finger was put down. `visible` and `now`: heights of the sheet in px,
 * then and now.
 * @typedef {{
 *   from: number, visible: number, now: number, last: PointerEvent, speed: number,
 * }} Drag
 */

/** The bottom sheet, and the bars under the map. On a wide screen they do not move. */
export class Sheet {
  #panel = find("#panel");
  #grip = find("#grip");
  #head = find("#head");
  #search = find(".search");
  #player = find("#player");
  #profile = find("#profile");
  #under = find("#under");
  #narrow = matchMedia("(max-width: 899px)");
  /** @type {Stop} */
  #stop = "peek";
  #onMove;
  /** @type {Drag | null} */
  #drag = null;

  /** @param {(visible: number) => void} onMove px of the map that are covered */
  constructor(onMove) {
    this.#onMove = onMove;
    for (const handle of [this.#grip, this.#head]) {
      handle.addEventListener("pointerdown", (event) => this.#start(event));
      handle.addEventListener("pointermove", (event) => this.#move(event));
      handle.addEventListener("pointerup", (event) => this.#end(event));
      handle.addEventListener("pointercancel", (event) => this.#end(event));
    }
    this.#grip.addEventListener("keydown", (event) => this.#key(event));
    // Clicks come from a keyboard or a screen reader. Taps are handled as pointer events.
    this.#grip.addEventListener("click", (event) => event.detail === 0 && this.#next());
    find("#search").addEventListener("focus", () => this.go("full"));
    // The focus must not be on elements below the screen's edge.
    find("#list").addEventListener("focusin", () => this.raise("half"));
    this.#narrow.addEventListener("change", () => {
      this.#placeBars();
      this.show();
    });
    this.#placeBars();
    addEventListener("resize", () => this.show());
    const observer = new ResizeObserver(() => this.#drag || this.show());
    for (const part of [this.#head, this.#search, this.#player, this.#under]) observer.observe(part);
  }

  /**
   * Go to a stop.
   *
   * @param {Stop} stop
   */
  go(stop) {
    this.#stop = stop;
    this.#panel.dataset.stop = stop;
    this.#grip.setAttribute("aria-expanded", String(stop !== "peek"));
    this.show();
  }

  /** Show the map beside the list on a phone, whose keyboard would cover it. */
  showMap() {
    if (this.#narrow.matches) find("#search").blur();
    this.go("half");
  }

  /**
   * Go at least as high as a stop.
   * @param {Stop} stop
   */
  raise(stop) {
    if (STOPS.indexOf(stop) > STOPS.indexOf(this.#stop)) this.go(stop);
  }

  // On a phone, the replay and the profile are in the sheet instead of over the course.
  #placeBars() {
    if (this.#narrow.matches) {
      this.#search.before(this.#player);
      find("#mine-tools").before(this.#profile);
    } else {
      this.#under.append(this.#profile, this.#player);
    }
  }

  #heights() {
    const parts = [this.#grip, this.#head, this.#player, this.#search];
    const peek = parts.reduce((sum, { offsetHeight }) => sum + offsetHeight, 0);
    const full = innerHeight - TOP_PX;
    // A replay needs the room for its bar.
    const list = this.#player.offsetHeight ? 0 : LIST_PX;
    const half = Math.max(peek + list, Math.round(innerHeight * 0.48));
    return { peek, half: Math.max(peek, Math.min(half, full)), full };
  }

  /** Move to the present stop, on a screen that may have changed. */
  show() {
    const { full, half, [this.#stop]: height } = this.#heights();
    const visible = this.#narrow.matches ? height : 0;
    // On a wide screen the bars cover the map's lower edge.
    const under = this.#narrow.matches ? 0 : this.#under.offsetHeight;
    document.documentElement.style.setProperty("--under", `${under}px`);
    document.documentElement.style.setProperty("--sheet-full", `${full}px`);
    this.#setVisible(visible);
    this.#onMove(Math.max(under, Math.min(visible, half)));
  }

  /** @param {number} visible px */
  #setVisible(visible) {
    const root = document.documentElement.style;
    root.setProperty("--sheet", `${visible}px`);
    // Above half height no map is visible that would need space.
    root.setProperty("--covered", `${Math.min(visible, this.#heights().half)}px`);
  }

  /** @param {PointerEvent} event */
  #start(event) {
    const handle = event.currentTarget;
    if (!this.#narrow.matches || event.button !== 0) return;
    if (handle instanceof Element) handle.setPointerCapture(event.pointerId);
    const visible = this.#heights()[this.#stop];
    this.#drag = { from: event.clientY, visible, now: visible, last: event, speed: 0 };
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const drag = this.#drag;
    if (!drag) return;
    const past = Math.max(1, event.timeStamp - drag.last.timeStamp);
    drag.speed = (drag.last.clientY - event.clientY) / past;
    drag.last = event;
    const { peek, full } = this.#heights();
    drag.now = Math.min(full, Math.max(peek, drag.visible + drag.from - event.clientY));
    if (Math.abs(drag.from - event.clientY) < TAP_PX) return;
    this.#panel.classList.add("dragging");
    this.#setVisible(drag.now);
  }

  /** @param {PointerEvent} event */
  #end(event) {
    const drag = this.#drag;
    if (!drag) return;
    this.#drag = null;
    this.#panel.classList.remove("dragging");
    if (Math.abs(drag.from - event.clientY) < TAP_PX) {
      if (event.type === "pointerup") this.#next();
      return;
    }
    const heights = this.#heights();
    const [nearest] = [...STOPS].sort(
      (a, b) => Math.abs(heights[a] - drag.now) - Math.abs(heights[b] - drag.now),
    );
    if (Math.abs(drag.speed) < FLICK_PX_PER_MS) return this.go(nearest);
    const step = drag.speed > 0 ? 1 : -1;
    this.go(STOPS[Math.min(2, Math.max(0, STOPS.indexOf(this.#stop) + step))]);
  }

  /** @param {KeyboardEvent} event */
  #key({ key }) {
    if (key !== "ArrowUp" && key !== "ArrowDown") return;
    const step = key === "ArrowUp" ? 1 : -1;
    this.go(STOPS[Math.min(2, Math.max(0, STOPS.indexOf(this.#stop) + step))]);
  }

  #next() {
    this.go(STOPS[(STOPS.indexOf(this.#stop) + 1) % STOPS.length]);
  }
}
