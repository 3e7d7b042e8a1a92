// What there is to say of a runner in a race, in words.

import { clockTime, distance } from "./format.js";
import { metresBetween } from "./metres.js";

// A split is told without its doubt when that is less. s.
const SURE = 5;
const MINUTE = 60_000;

/**
 * @typedef {import("./store.js").Runner} Runner
 * @typedef {import("./store.js").Race} Race
 * @typedef {import("./store.js").Checkpoint} Checkpoint
 * @typedef {{status: string, at: number | null, earliest: number | null, latest: number | null}} Arrival
 */

/**
 * The places of those who run the same race, by how far they are: code → place from 1.
 *
 * @param {Iterable<Runner>} runners
 */
export function ranks(runners) {
  /** @type {Map<string, Runner[]>} */
  const races = new Map();
  for (const runner of runners) {
    if (runner.race === null || (runner.fix?.progress ?? null) === null) continue;
    const field = races.get(runner.race);
    if (field) field.push(runner);
    else races.set(runner.race, [runner]);
  }
  /** @type {Map<string, number>} */
  const ranks = new Map();
  const far = (/** @type {Runner} */ { fix }) => fix?.progress ?? 0;
  for (const field of races.values()) {
    if (field.length < 2) continue;
    field.sort((a, b) => far(b) - far(a));
    field.forEach((runner, n) => {
      const same = n > 0 && far(field[n - 1]) === far(runner);
      ranks.set(runner.code, same ? (ranks.get(field[n - 1].code) ?? n) : n + 1);
    });
  }
  return ranks;
}

/**
 * "1st", "22nd", "113th".
 *
 * @param {number} number
 */
export function ordinal(number) {
  const tens = number % 100;
  const ending = tens >= 11 && tens <= 13 ? "th" : (["th", "st", "nd", "rd"][number % 10] ?? "th");
  return `${number}${ending}`;
}

/**
 * The next checkpoint of a runner who is on the course.
 *
 * @param {Runner} runner
 * @param {Race | null} race
 * @returns {Checkpoint | null}
 */
export function nextCheckpoint({ fix, state }, race) {
  const progress = fix?.progress ?? null;
  if (race === null || progress === null) return null;
  if (["finished", "dnf", "dns"].includes(state ?? "")) return null;
  return race.checkpoints.find((point) => point.kind !== "start" && point.distance > progress) ?? null;
}

/**
 * The last checkpoint that a runner is past.
 *
 * @param {Runner} runner
 * @param {Race | null} race
 * @returns {Checkpoint | null}
 */
export function lastCheckpoint({ fix }, race) {
  const progress = fix?.progress ?? null;
  if (race === null || progress === null) return null;
  const past = race.checkpoints.filter((point) => point.distance <= progress);
  return past.pop() ?? null;
}

/**
 * The last time that was taken of a runner: "15 km at 10:42:31".
 *
 * @param {Runner} runner
 * @param {Race | null} race
 */
export function lastSplit({ splits }, race) {
  const [last] = [...splits.values()].sort((a, b) => b.at - a.at);
  return last && race ? splitWords(last, race) : "";
}

/**
 * A split in words.
 *
 * @param {import("./store.js").Split} split
 * @param {Race} race
 */
export function splitWords({ checkpoint, distance: metres, at, uncertainty }, race) {
  const name = race.checkpoints.find(({ id }) => id === checkpoint)?.name ?? kilometres(metres);
  const doubt = uncertainty > SURE ? ` ± ${Math.round(uncertainty)} s` : "";
  return `${name} at ${clockTime(at)}${doubt}`;
}

/**
 * What comes next: "15 km in 11–13 min", else how far it is.
 *
 * @param {Runner} runner
 * @param {Race | null} race
 * @param {Arrival | null} arrival at the next checkpoint
 * @param {number} now
 */
export function nextWords(runner, race, arrival, now) {
  const next = nextCheckpoint(runner, race);
  if (next === null) return "";
  const range = arrival && rangeWords(arrival, now);
  if (range) return `${next.name} ${range}`;
  return `${next.name} in ${kilometres(next.distance - (runner.fix?.progress ?? 0))}`;
}

/**
 * A range from now: "in 11–13 min", "about now"; "" where none is known.
 *
 * @param {Arrival} arrival
 * @param {number} now
 */
export function rangeWords({ earliest, latest }, now) {
  if (earliest === null || latest === null) return "";
  const [from, to] = [(earliest - now) / MINUTE, (latest - now) / MINUTE];
  if (to < 1) return "about now";
  const [low, high] = [Math.max(0, Math.floor(from)), Math.ceil(to)];
  if (low >= 60) return `in ${hours(low)}–${hours(high)} h`;
  return low === high ? `in ${low} min` : `in ${low}–${high} min`;
}

/** @param {number} minutes */
function hours(minutes) {
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
}

/**
 * How far a runner is from the visitor: "1.3 km from you".
 *
 * @param {Runner} runner
 * @param {import("./polyline.js").LngLat | null} here
 */
export function awayWords({ fix }, here) {
  if (fix === null || here === null) return "";
  return `${kilometres(metresBetween([fix.lng, fix.lat], here))} from you`;
}

/** @param {number} metres */
export function kilometres(metres) {
  const figure = distance(metres);
  return figure ? `${figure.value} ${figure.unit}` : "";
}
