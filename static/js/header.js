// The header above the list: race time, runner counts, connection and notices.

import { find, setAttribute, setText } from "./dom.js";
import { ordinal } from "./facts.js";
import { clockTime, dayAndTime, distanceWords, duration } from "./format.js";
import { gettext, number } from "./language.js";
import { dataState, describe } from "./liveness.js";

// How long a notice is shown.
const NOTICE_FOR_MS = 10_000;
const DAY_MS = 86_400_000;

/**
 * @typedef {import("./feed.js").FeedStatus} Status
 * @typedef {import("./store.js").Runner} Runner
 */

/** Writes the texts above the list and on the map's edge. */
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
   * Show the time to the start, or since the start.
   * @param {number} now
   * @param {boolean} isReplay
   */
  tick(now, isReplay) {
    if (!this.#race || !this.#start) return;
    const { start, ends } = this.#race;
    this.#tag?.toggleAttribute("hidden", isReplay || now < start || now >= ends);
    if (now >= ends) setText(this.#start, gettext("Over"));
    else if (now >= start) setText(this.#start, duration(now - start));
    else if (start - now < DAY_MS) {
      setText(this.#start, gettext("Starts in {span}", { span: duration(start - now) }));
    } else setText(this.#start, gettext("Starts {time}", { time: dayAndTime(start) }));
    this.#start.classList.toggle("running", now < ends);
  }

  /**
   * Show the next event of followed runners, or else their state, or the number of
   * runners.
   * @param {Runner[]} runners
   * @param {{
   *   follows: import("./follows.js").Follows, now: number, next: string,
   *   emptySentence: string,
   *   ended: (runner: Runner) => import("./liveness.js").Ended & {rank?: number | null},
   * }} view `ended`: a finisher's time and rank, and whether the race has ended
   */
  showRunners(runners, { follows, now, next, emptySentence, ended }) {
    const mine = runners.filter(({ code }) => follows.has(code));
    const live = runners.filter((runner) => dataState(runner, now) === "live");
    let text = runners.length ? "" : emptySentence;
    // The list beside the header shows the same.
    this.#summary.classList.toggle("nobody", runners.length === 0);
    if (next) text = next;
    else if (mine.length === 1) text = oneLine(mine[0], now, ended(mine[0]));
    else if (runners.length > 1 && runners.every((runner) => ended(runner).isOver || ended(runner).isReplay)) {
      const finished = runners.filter(({ state }) => state === "finished");
      text = gettext("{finished} of {all} runners have finished", {
        all: number(runners.length), finished: number(finished.length),
      });
    } else if (mine.length > 1) {
      const mineLive = mine.filter((runner) => dataState(runner, now) === "live");
      text = gettext("My runners: {live} of {all} live", {
        live: mineLive.length, all: mine.length,
      });
    } else if (runners.length > 1) {
      const estimated = runners.filter((runner) => dataState(runner, now) === "estimated");
      const counts = {
        all: number(runners.length), live: number(live.length),
        estimated: number(estimated.length),
      };
      text = estimated.length
        ? gettext("{all} runners, {live} live, {estimated} estimated", counts)
        : gettext("{all} runners, {live} live", counts);
    } else if (runners.length === 1) {
      text = oneLine(runners[0], now, ended(runners[0]));
    }
    setText(this.#summary, text);
  }

  /**
   * Show the state of the connection.
   * @param {Status} status
   * @param {number | null} lastFrame `time` of the newest frame
   */
  showConnection(status, lastFrame) {
    this.#status = status;
    this.#lastFrame = lastFrame;
    this.#showStatus();
  }

  /**
   * Show that the picture is frozen, and since when. Null: it is live again.
   * @param {number | null} time
   */
  showPaused(time) {
    this.#paused = time;
    const isPaused = time !== null;
    setAttribute(this.#pause, "aria-pressed", String(isPaused));
    setAttribute(this.#pause, "title", isPaused ? gettext("Continue") : gettext("Pause"));
    const icon = `${this.#icons}#${isPaused ? "play" : "pause"}`;
    setAttribute(find("use", this.#pause), "href", icon);
    this.#showStatus();
  }

  /**
   * Show a sentence for some seconds, or until the next one.
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
    }, NOTICE_FOR_MS);
  }

  #showStatus() {
    this.#connection.dataset.state = this.#paused !== null ? "paused" : this.#status.state;
    setText(this.#connection, this.#sentence());
  }

  #sentence() {
    const { state } = this.#status;
    if (state === "ended") return this.#status.detail ?? "";
    if (this.#paused !== null) return `${gettext("Paused.")} ${seenAt(this.#paused)}`;
    if (state === "open") return gettext("Connected");
    if (state === "polling") return gettext("No live connection: updating every 5 s.");
    const since = this.#lastFrame ? seenAt(this.#lastFrame) : "";
    if (state === "offline") return `${gettext("No network.")} ${since}`.trim();
    if (since) return `${gettext("Reconnecting.")} ${since}`;
    return state === "connecting"
      ? gettext("Connecting")
      : gettext("The server does not answer. Trying again.");
  }
}

/**
 * @param {Runner} runner
 * @param {number} now
 * @param {import("./liveness.js").Ended & {rank?: number | null}} ended
 */
function oneLine(runner, now, ended) {
  const progress = runner.state === "finished" ? null : (runner.fix?.progress ?? null);
  const who = runner.bib ? gettext("Bib {bib}", { bib: runner.bib }) : runner.name;
  const where = progress === null
    ? who
    : gettext("{who} at {distance}", { who, distance: distanceWords(progress, runner.fix?.uncertainty) });
  const rank = runner.state === "finished" && ended.rank ? `, ${ordinal(ended.rank)}` : "";
  return `${where}. ${describe(runner, now, ended).words}${rank}`;
}

/** @param {number} time */
function seenAt(time) {
  return gettext("What you see is from {time}.", { time: clockTime(time) });
}
