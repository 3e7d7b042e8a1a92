// The bar under the map that controls the replay.

import { find, setAttribute, setText } from "./dom.js";
import { clockTime, duration } from "./format.js";
import { gettext } from "./language.js";
import { passedAt } from "./passing.js";
import { Replay } from "./replay.js";

// How often the picture changes.
const STEP_MS = 100;

/**
 * `whose` is the code of the runner whose splits are jumped to. Null: the leader.
 * @typedef {{
 *   url: string, eta: string, headers: Record<string, string>, icons: string,
 *   race: {slug: string, start: number, ends: number},
 *   checkpoints: () => import("./store.js").Checkpoint[], whose: () => string | null,
 *   now: () => number, onChange: () => void, onNote: (sentence: string) => void,
 * }} Options
 */

/** The player. `time` is the time shown, or null when live. */
export class Player {
  /** @type {number | null} */
  time = null;
  replay;
  #options;
  #isPlaying = false;
  #bar = find("#player");
  #slider = /** @type {HTMLInputElement} */ (find("#player-time"));
  #speed = /** @type {HTMLSelectElement} */ (find("#player-speed"));
  #tail = /** @type {HTMLSelectElement} */ (find("#player-tail"));
  #jump = /** @type {HTMLSelectElement} */ (find("#player-jump"));
  #mass = find("#player-mass");
  #play = find("#player-play");
  #open = find("#replay");
  #last = 0;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    const { url, race, headers, onChange } = options;
    this.replay = new Replay({ url, start: race.start, headers, onChange });
    this.#open.addEventListener("click", () => (this.time === null ? this.begin() : this.end()));
    find("#player-live").addEventListener("click", () => this.end());
    this.#bar.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.end();
    });
    this.#play.addEventListener("click", () => this.#setPlaying(!this.#isPlaying));
    this.#slider.addEventListener("input", () => {
      this.time = Number(this.#slider.value);
      onChange();
    });
    this.#tail.addEventListener("change", onChange);
    this.#jump.addEventListener("change", () => this.#jumpTo(this.#jump.value));
    this.#mass.addEventListener("click", () => {
      this.replay.isMassStart = !this.replay.isMassStart;
      setAttribute(this.#mass, "aria-pressed", String(this.replay.isMassStart));
      onChange();
    });
    setInterval(() => this.#step(), STEP_MS);
  }

  /** ms */
  get tail() {
    return Number(this.#tail.value) * 60_000;
  }

  /** Show the current state. */
  show() {
    this.#bar.hidden = this.time === null;
    setAttribute(this.#open, "aria-pressed", String(this.time !== null));
    if (this.time === null) return;
    const { start } = this.#options.race;
    this.#mass.hidden = !this.replay.hasWaves;
    this.#slider.max = String(this.#end());
    this.#slider.value = String(this.time);
    const since = this.time - start;
    const words = since < 0 ? gettext("{span} to the start", { span: duration(-since) }) : `${duration(since)} · ${clockTime(this.time)}`;
    setAttribute(this.#slider, "aria-valuetext", words);
    setText(find("#player-words"), words);
  }

  #end() {
    return Math.max(this.#options.race.start + 1, Math.min(this.#options.now(), this.#options.race.ends));
  }

  /**
   * Play the race from its start, or stop at a time of it.
   * @param {number} [time] ms
   */
  begin(time) {
    const { start } = this.#options.race;
    this.time = Math.min(Math.max(time ?? start, start), this.#end());
    const points = this.#options.checkpoints().filter(({ kind }) => kind !== "start");
    this.#jump.replaceChildren(
      new Option(gettext("Go to…"), ""),
      new Option(gettext("Start"), "start"),
      ...points.map(({ id, name }) => new Option(name, String(id))),
    );
    this.#slider.min = String(start);
    this.#slider.max = String(this.#end());
    this.#setPlaying(time === undefined);
    if (time === undefined) this.#play.focus();
  }

  // Jump to the time at which a checkpoint was passed.
  /** @param {string} id */
  async #jumpTo(id) {
    this.#jump.value = "";
    const { race, eta, headers, checkpoints, whose, onChange, onNote } = this.#options;
    const point = checkpoints().find((other) => String(other.id) === id);
    let at = race.start;
    if (point) {
      const passed = await passedAt({ eta: eta.replace("SLUG", race.slug), headers, point, code: whose() });
      if (!passed) return onNote(gettext("No runner has passed it: {place}.", { place: point.name }));
      at = passed.at - this.replay.shift(passed.code);
    }
    if (this.time === null) return;
    this.time = Math.min(at, this.#end());
    onChange();
  }

  /** Return to live. */
  end() {
    const hadFocus = this.#bar.contains(document.activeElement);
    this.time = null;
    this.#setPlaying(false);
    if (hadFocus) this.#open.focus();
  }

  /** @param {boolean} isPlaying */
  #setPlaying(isPlaying) {
    this.#isPlaying = isPlaying;
    this.#last = performance.now();
    const words = isPlaying ? gettext("Pause the replay") : gettext("Play");
    setAttribute(this.#play, "title", words);
    setText(find(".visually-hidden", this.#play), words);
    setAttribute(find("use", this.#play), "href", `${this.#options.icons}#${isPlaying ? "pause" : "play"}`);
    this.#options.onChange();
  }

  #step() {
    const now = performance.now();
    const past = now - this.#last;
    this.#last = now;
    if (this.time === null || !this.#isPlaying) return;
    // Wait for chunks that are not loaded.
    if (!this.replay.prepare(this.time, this.tail)) return;
    this.time = Math.min(this.#end(), this.time + past * Number(this.#speed.value));
    if (this.time >= this.#end()) this.#setPlaying(false);
    this.#options.onChange();
  }
}
