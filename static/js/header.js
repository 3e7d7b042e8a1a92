// What stands above the list: the race's time, how many run, the connection, notices.

import { clockTime, distance, duration, label } from "./format.js";
import { dataState, describe } from "./liveness.js";

// How long a notice stays. ms.
const NOTICE_FOR = 10_000;

export class Header {
  #summary = document.querySelector("#summary");
  #start = document.querySelector("#start");
  #connection = document.querySelector("#connection");
  #notice = document.querySelector("#notice");
  #pause = document.querySelector("#pause");
  #race;
  #icons;
  #status = { state: "connecting" };
  #lastFrame = null;
  #paused = null;
  #noticeTimer = 0;

  constructor({ race, icons }) {
    this.#race = race;
    this.#icons = icons;
  }

  /** Show the time since the start. */
  tick(now) {
    if (!this.#race || !this.#start) return;
    if (now < this.#race.start || now >= this.#race.ends) return;
    setText(this.#start, duration(now - this.#race.start));
    this.#start.classList.add("running");
  }

  /** Say how many run, or how the one I follow does. */
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

  /** Say in words how the connection is. */
  showConnection(status, lastFrame) {
    this.#status = status;
    this.#lastFrame = lastFrame;
    this.#showStatus();
  }

  /** Say that the picture stands still, since when; null when it moves again. */
  showPaused(time) {
    this.#paused = time;
    const isPaused = time !== null;
    this.#pause.setAttribute("aria-pressed", String(isPaused));
    this.#pause.title = isPaused ? "Go on" : "Pause";
    this.#pause.querySelector("use").setAttribute(
      "href",
      `${this.#icons}#${isPaused ? "play" : "pause"}`,
    );
    this.#showStatus();
  }

  /** Show a sentence for a while. */
  notice(sentence) {
    clearTimeout(this.#noticeTimer);
    this.#notice.textContent = sentence;
    this.#notice.hidden = false;
    this.#noticeTimer = setTimeout(() => {
      this.#notice.hidden = true;
    }, NOTICE_FOR);
  }

  #showStatus() {
    const { state, detail } = this.#status;
    this.#connection.dataset.state = this.#paused !== null ? "paused" : state;
    setText(this.#connection, this.#sentence(state, detail));
  }

  #sentence(state, detail) {
    if (state === "ended") return detail;
    const since = this.#lastFrame && ` What you see is from ${clockTime(this.#lastFrame)}.`;
    if (this.#paused !== null) return `Paused. What you see is from ${clockTime(this.#paused)}.`;
    if (state === "open") return "Connected";
    if (state === "offline") return `No network.${since ?? ""}`;
    if (since) return `Reconnecting.${since}`;
    return state === "connecting" ? "Connecting" : "The server does not answer. Trying again.";
  }
}

function oneLine(runner, now) {
  const at = distance(runner.fix?.progress ?? null);
  const who = runner.bib ? `Bib ${label(runner)}` : runner.name;
  const where = at ? ` at ${at.value} ${at.unit}` : "";
  return `${who}${where}. ${describe(runner, now).words}`;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
