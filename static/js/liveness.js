// The liveness of a runner's last fix, by the server's clock.

import { age, distanceWords, duration } from "./format.js";
import { gettext } from "./language.js";

// Ages below `until` milliseconds have this `state`.
const LIMITS = [
  { state: "live", until: 30_000 },
  { state: "delayed", until: 120_000 },
  { state: "stale", until: 600_000 },
];
// The states of runners whose race has ended.
export const FINAL = new Set(["finished", "dnf", "dns", "dsq"]);

/**
 * `time`: a finisher's time in ms, where known; `isOver`: the runner's race has ended;
 * `isReplay`: `now` is a time of the replay.
 * @typedef {Pick<import("./store.js").Runner, "fix" | "state" | "estimated">} Seen
 * @typedef {{time?: number | null, isOver?: boolean, isReplay?: boolean}} Ended
 */

/**
 * Return the liveness of a fix, or of none: live, delayed, stale or lost.
 * @param {number | null} t ms
 * @param {number} now ms, by the server's clock
 */
export function liveness(t, now) {
  if (t === null) return "lost";
  return LIMITS.find(({ until }) => now - t < until)?.state ?? "lost";
}

/**
 * Return a row's `data-state`: `finished`, `estimated` between two mats, or the liveness of
 * the last fix. Whoever is out of the race is not live, whatever their phone sends.
 * @param {Seen} runner
 * @param {number} now
 */
export function dataState({ state, fix, estimated }, now) {
  if (state === "finished") return "finished";
  if (estimated) return estimated.isGivenUp ? "lost" : "estimated";
  const current = liveness(fix?.t ?? null, now);
  return FINAL.has(state ?? "") && current !== "lost" ? "stale" : current;
}

/** @type {Record<string, string>} */
const WORDS = {
  live: gettext("Live"),
  delayed: gettext("Delayed"),
  stale: gettext("Stale"),
  estimated: gettext("Estimated"),
};

/** @type {Record<string, string>} */
const RACE_WORDS = {
  off_course: gettext("Off course"),
  paused: gettext("Paused"),
  dnf: gettext("Did not finish"),
  dns: gettext("Did not start"),
  dsq: gettext("Disqualified"),
};

/**
 * Return the icon and the text of a runner's state.
 * @param {Seen} runner
 * @param {number} now
 * @param {Ended} [race]
 */
export function describe(runner, now, { time = null, isOver = false, isReplay = false } = {}) {
  const state = dataState(runner, now);
  if (state === "finished") {
    const words = time === null
      ? gettext("Finished")
      : gettext("Finished in {time}", { time: duration(time) });
    return { state, shape: "finished", words };
  }
  if (isOver && !FINAL.has(runner.state ?? "")) {
    return { state: "lost", shape: "lost", words: unfinished(runner.fix) };
  }
  if (!runner.fix) return { state, shape: "lost", words: gettext("Not seen yet") };
  if (isReplay) return { state, shape: state, words: gettext("Running") };
  const past = age(now - runner.fix.t);
  if (runner.state && runner.state in RACE_WORDS) {
    const shape = runner.state === "off_course" ? "off_course" : state;
    return { state, shape, words: seen(RACE_WORDS[runner.state], past) };
  }
  if (runner.estimated?.missed) {
    const values = { place: runner.estimated.missed };
    const missed = state === "lost"
      ? gettext("Not seen at {place}", values)
      : gettext("Estimated, not seen at {place}", values);
    return { state, shape: state, words: seen(missed, past) };
  }
  if (state === "lost") {
    const { progress, uncertainty } = runner.fix;
    const words = progress === null
      ? gettext("No signal for {age}", { age: past })
      : gettext("No signal for {age}, last at {distance}", {
          age: past, distance: distanceWords(progress, uncertainty),
        });
    return { state, shape: state, words };
  }
  return { state, shape: state, words: seen(WORDS[state], past) };
}

/** @param {import("./protocol.js").Fix | null} fix */
function unfinished(fix) {
  return fix === null || fix.progress === null
    ? gettext("Not finished")
    : gettext("Not finished, last seen at {distance}", {
        distance: distanceWords(fix.progress, fix.uncertainty),
      });
}

/** @param {string} word @param {string} past */
function seen(word, past) {
  return gettext("{state}, seen {age} ago", { state: word, age: past });
}
