// Which runners the live page shows, and where: now, or at the time of the replay.

import { atEstimate } from "../estimate.js";

// Estimated places are kept this long: thousands of them would delay a tap.
const KEPT_FOR_MS = 1000;

/** @typedef {import("../store.js").Runner} Runner */

export class Shown {
  /** @type {import("../player.js").Player | null} */
  player = null;
  #page;
  #store;
  #clock;
  #follows;
  #results;
  /** @type {WeakMap<Runner, Pick<Runner, "estimate" | "fix"> & {now: number, shown: Runner}>} */
  #places = new WeakMap();

  /**
   * @param {{
   *   page: import("./page.js").Page, store: import("../store.js").Store,
   *   clock: import("../clock.js").ServerClock, results: import("../results.js").Results,
   *   follows: {has: (code: string) => boolean},
   * }} options
   */
  constructor({ page, store, clock, results, follows }) {
    this.#page = page;
    this.#store = store;
    this.#clock = clock;
    this.#results = results;
    this.#follows = follows;
  }

  /** The time of the list and the map, ms. */
  get time() {
    return this.player?.time ?? this.#clock.now();
  }

  get isReplay() {
    return Boolean(this.player?.time);
  }

  /** @returns {Runner[]} */
  runners() {
    const runners = [...this.#store.runners.values()];
    if (this.player?.time) return this.#replayed(this.player, this.player.time, runners);
    const now = this.#clock.now();
    // A runner without a fix is on a start list only, or nowhere.
    return runners.map((runner) => this.estimated(runner, now)).filter(
      (runner) => runner.fix || this.#page.race || this.#page.oneRunner || this.#follows.has(runner.code),
    );
  }

  /** @param {import("../player.js").Player} player @param {number} time @param {Runner[]} runners */
  #replayed({ replay, tail }, time, runners) {
    replay.prepare(time, tail);
    return replay.at(
      runners, time, tail,
      (/** @type {Runner} */ runner) => this.#store.courseOf(runner)?.along ?? null,
      (/** @type {Runner} */ runner) => this.#results.of(runner)?.gun_time ?? null,
    );
  }

  /** @param {Runner} runner @param {number} now */
  estimated(runner, now) {
    const { estimate, fix } = runner;
    if (!estimate) return runner;
    const kept = this.#places.get(runner);
    const isFresh = kept && now - kept.now < KEPT_FOR_MS && now >= kept.now;
    if (isFresh && kept.estimate === estimate && kept.fix === fix) return kept.shown;
    const course = this.#store.courseOf(runner);
    let shown = runner;
    try {
      shown = atEstimate(runner, course, { now, isOver: this.ended(runner, now).isOver });
    } catch (error) {
      // The other runners are drawn all the same.
      console.error(`The estimate of ${runner.code} failed.`, error);
    }
    this.#places.set(runner, { now, estimate, fix, shown });
    return shown;
  }

  /** @param {Runner} runner @param {number} [now] */
  ended(runner, now = this.#clock.now()) {
    const time = this.#results.of(runner)?.gun_time ?? null;
    if (this.player?.time) return { time, isReplay: true };
    // A phone that goes on sending after the end is in no race any more, but on its page.
    const race = this.#page.race ? this.#store.races.get(this.#page.race.slug) : this.#store.courseOf(runner);
    return { time, isOver: now >= (race?.ends ?? Infinity) };
  }
}
