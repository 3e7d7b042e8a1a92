// What stands above the list: the race's time, how many run, the connection, notices.

import { find, setAttribute, setText } from "./dom.js";
import { clockTime, distance, duration, label } from "./format.js";
import { dataState, describe } from "./liveness.js";

// How long a notice stays. ms.
const NOTICE_FOR = 10_000;
const DAY = 86_400_000; // ms

/**
 * @typedef {import("./feed.js").FeedStatus} Status
 * @typedef {import("./store.js").Runner} Runner
 */

/** Writes what stands above the list and on the map's edge. */
export class Header {
  #summary = find("#summary");
  #start = document.querySelector("#start");
  #tag = document.querySelector("#on");
  #connection = find("#connection");
  #notice = find("#notice");
  #pause = find("#pause");
  #race;
  #icons;
  /** @type {Status} */
  #status = { state: "connecting" };
  /** @type {number | null} */
  #lastFrame = null;
  /** @type {number | null} */
  #paused = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #noticeTimer;

  /** @param {{race: {start: number, ends: number} | null, icons: string}} page */
  constructor({ race, icons }) {
    this.#race = race;
    this.#icons = icons;
  }

  /**
   * Show the time to the start, or since.
   *
   * @param {number} now
   */
  tick(now) {
    if (!this.#race || !this.#start) return;
    const { start, ends } = this.#race;
    this.#tag?.toggleAttribute("hidden", now < start || now >= ends);
    if (now >= ends) setText(this.#start, "Over");
    else if (now >= start) setText(this.#start, duration(now - start));
    else if (start - now < DAY) setText(this.#start, `Starts in ${duration(start - now)}`);
    else return;
    this.#start.classList.toggle("running", now < ends);
  }

  /**
   * Say how many run, or how the one I follow does.
   *
   * @param {Runner[]} runners
   * @param {{
   *   follows: import("./follows.js").Follows, now: number, emptySentence: string,
   * }} view
   */
  showRunners(runners, { follows, now, emptySentence }) {
    const mine = runners.filter(({ code }) => follows.has(code));
    const live = runners.filter((runner) => dataState(runner, now) === "live");
    let text = runners.length ? "" : emptySentence;
    // Beside the list, which says the same, it would be said twice.
    this.#summary.classList.toggle("nobody", runners.length === 0);
    if (mine.length === 1) text = oneLine(mine[0], now);
    else if (mine.length > 1) {
      const mineLive = mine.filter((runner) => dataState(runner, now) === "live");
      text = `My runners: ${mineLive.length} of ${mine.length} live`;
    } else if (runners.length > 1) {
      text = `${runners.length} runners, ${live.length} live`;
    } else if (runners.length === 1) {
      text = oneLine(runners[0], now);
    }
    setText(this.#summary, text);
  }

  /**
   * Say in words how the connection is.
   *
   * @param {Status} status
   * @param {number | null} lastFrame `time` of the newest frame
   */
  showConnection(status, lastFrame) {
    this.#status = status;
    this.#lastFrame = lastFrame;
    this.#showStatus();
  }

  /**
   * Say that the picture stands still, since when; null when it moves again.
   *
   * @param {number | null} time
   */
  showPaused(time) {
    this.#paused = time;
    const isPaused = time !== null;
    setAttribute(this.#pause, "aria-pressed", String(isPaused));
    setAttribute(this.#pause, "title", isPaused ? "Go on" : "Pause");
    const icon = `${this.#icons}#${isPaused ? "play" : "pause"}`;
    setAttribute(find("use", this.#pause), "href", icon);
    this.#showStatus();
  }

  /**
   * Show a sentence, for a while or until the next.
   *
   * @param {string} sentence
   * @param {{stays?: boolean}} [how]
   */
  notice(sentence, { stays = false } = {}) {
    clearTimeout(this.#noticeTimer);
    this.#notice.textContent = sentence;
    this.#notice.hidden = false;
    if (stays) return;
    this.#noticeTimer = setTimeout(() => {
      this.#notice.hidden = true;
    }, NOTICE_FOR);
  }

  #showStatus() {
    this.#connection.dataset.state = this.#paused !== null ? "paused" : this.#status.state;
    setText(this.#connection, this.#sentence());
  }

  #sentence() {
    const { state } = this.#status;
    if (state === "ended") return this.#status.detail ?? "";
    const since = this.#lastFrame && ` What you see is from ${clockTime(this.#lastFrame)}.`;
    if (this.#paused !== null) return `Paused. What you see is from ${clockTime(this.#paused)}.`;
    if (state === "open") return "Connected";
    if (state === "polling") return "No live line here: asking every 5 s.";
    if (state === "offline") return `No network.${since ?? ""}`;
    if (since) return `Reconnecting.${since}`;
    return state === "connecting" ? "Connecting" : "The server does not answer. Trying again.";
  }
}

/** @param {Runner} runner @param {number} now */
function oneLine(runner, now) {
  const at = distance(runner.fix?.progress ?? null);
  const who = runner.bib ? `Bib ${label(runner)}` : runner.name;
  const where = at ? ` at ${at.value} ${at.unit}` : "";
  return `${who}${where}. ${describe(runner, now).words}`;
}
