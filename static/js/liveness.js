// How fresh a runner's last fix is, by the server's clock.

import { age, distance } from "./format.js";

// Younger than `until` milliseconds is called `state`.
const LIMITS = [
  { state: "live", until: 30_000 },
  { state: "delayed", until: 120_000 },
  { state: "stale", until: 600_000 },
];

/** @typedef {Pick<import("./store.js").Runner, "fix" | "state">} Seen */

/**
 * The liveness of a fix, or of none: live, delayed, stale or lost.
 *
 * @param {number | null} t ms
 * @param {number} now ms, by the server's clock
 */
export function liveness(t, now) {
  if (t === null) return "lost";
  return LIMITS.find(({ until }) => now - t < until)?.state ?? "lost";
}

/**
 * What a row's `data-state` says: `finished`, or the liveness of the last fix.
 *
 * @param {Seen} runner
 * @param {number} now
 */
export function dataState(runner, now) {
  if (runner.state === "finished") return "finished";
  return liveness(runner.fix?.t ?? null, now);
}

/** @type {Record<string, string>} */
const RACE_WORDS = {
  off_course: "Off course",
  paused: "Paused",
  dnf: "Did not finish",
  dns: "Did not start",
};

/**
 * The shape (an icon's name) and the words that tell a runner's state.
 *
 * @param {Seen} runner
 * @param {number} now
 */
export function describe(runner, now) {
  const state = dataState(runner, now);
  const seen = runner.fix && `${age(now - runner.fix.t)} ago`;
  if (state === "finished") return { state, shape: "finished", words: "Finished" };
  if (!runner.fix) return { state, shape: "lost", words: "Not seen yet" };
  if (runner.state && runner.state in RACE_WORDS) {
    const shape = runner.state === "off_course" ? "off_course" : state;
    return { state, shape, words: `${RACE_WORDS[runner.state]}, seen ${seen}` };
  }
  if (state === "lost") {
    const last = distance(runner.fix.progress);
    const where = last ? `, last at ${last.value} ${last.unit}` : "";
    return { state, shape: state, words: `No signal for ${age(now - runner.fix.t)}${where}` };
  }
  const word = state[0].toUpperCase() + state.slice(1);
  return { state, shape: state, words: `${word}, seen ${seen}` };
}
