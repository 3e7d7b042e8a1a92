// Texts about a runner in a race.

import { clockTime, distance, distanceWords, duration, minuteRange } from "./format.js";
import { gettext, language } from "./language.js";
import { FINAL, liveness } from "./liveness.js";
import { metresBetween } from "./metres.js";

// A smaller uncertainty of a split is not shown.
const CERTAIN_S = 5;
const MINUTE_MS = 60_000;
// A smaller change of a gap is as uncertain as the splits.
const SAME_GAP_MS = 3_000;
// Per cent, as on the server (positions/phone_status.py). A phone below this may stop
// soon.
const LOW_BATTERY_PERCENT = 20;
// A greater uncertainty of a position is shown as text and as a ring on the map, as on
// the server.
const UNCERTAIN_M = 20;
// Greater than any rank.
const UNRANKED = 1_000_000;

/**
 * @typedef {import("./store.js").Runner} Runner
 * @typedef {import("./store.js").Race} Race
 * @typedef {import("./store.js").Checkpoint} Checkpoint
 * @typedef {{status: string, at: number | null, earliest: number | null, latest: number | null}} Arrival
 */

/**
 * Return the ranks of the runners who are still in a race by their progress: code → rank
 * from 1, behind the finishers, whose ranks depend on their times (results.js).
 * @param {Iterable<Runner>} runners
 */
export function ranks(runners) {
  /** @type {Map<string, Runner[]>} */
  const races = new Map();
  for (const runner of runners) {
    if (runner.race === null || (runner.fix?.progress ?? null) === null) continue;
    if (runner.state !== "finished" && FINAL.has(runner.state ?? "")) continue;
    const field = races.get(runner.race);
    if (field) field.push(runner);
    else races.set(runner.race, [runner]);
  }
  /** @type {Map<string, number>} */
  const ranks = new Map();
  // One number per runner: comparing thousands of runners by their fields takes long.
  const far = (/** @type {Runner} */ { state, fix }) =>
    state === "finished" ? Infinity : (fix?.progress ?? 0);
  for (const field of races.values()) {
    if (field.length < 2) continue;
    const ordered = field.map((runner) => ({ runner, metres: far(runner) }));
    ordered.sort((a, b) => b.metres - a.metres || 0);
    let rank = 1;
    ordered.forEach(({ runner, metres }, n) => {
      if (n > 0 && ordered[n - 1].metres !== metres) rank = n + 1;
      if (metres < Infinity) ranks.set(runner.code, rank);
    });
  }
  return ranks;
}

/**
 * Return a number by which a list of runners is sorted: finishers, then those in the race,
 * then lost signals, each by rank.
 * @param {Runner} runner
 * @param {number | null | undefined} rank the one that the list shows
 * @param {boolean} isLost
 */
export function orderKey({ state }, rank, isLost) {
  const part = isLost ? 2 : state === "finished" ? 0 : 1;
  return part * UNRANKED * 2 + (rank ?? UNRANKED);
}

const ordinals = new Intl.PluralRules(language, { type: "ordinal" });
/** @type {Record<string, string>} */
const ENGLISH = { one: "st", two: "nd", few: "rd", other: "th" };

/**
 * Return a rank as text: "1st", "22nd", "113th", or "22." or "22e" in other languages.
 * @param {number} place
 */
export function ordinal(place) {
  if (language.startsWith("en")) return `${place}${ENGLISH[ordinals.select(place)]}`;
  return place === 1 ? gettext("1st") : gettext("{place}th", { place });
}

/**
 * Return the next checkpoint of a runner who is on the course.
 * @param {Runner} runner
 * @param {Race | null} race
 * @returns {Checkpoint | null}
 */
export function nextCheckpoint({ fix, state }, race) {
  const progress = fix?.progress ?? null;
  if (race === null || progress === null) return null;
  if (FINAL.has(state ?? "")) return null;
  return race.checkpoints.find((point) => point.kind !== "start" && point.distance > progress) ?? null;
}

/**
 * Return the last checkpoint that a runner has passed.
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
 * Return the last split of a runner as text: "15 km at 10:42:31".
 * @param {Runner} runner
 * @param {Race | null} race
 */
export function lastSplit({ splits }, race) {
  const [last] = [...splits.values()].sort((a, b) => b.at - a.at);
  return last && race ? splitWords(last, race) : "";
}

/**
 * Return a split as text.
 * @param {import("./store.js").Split} split
 * @param {Race} race
 */
export function splitWords({ checkpoint, distance: metres, at, uncertainty }, race) {
  const name = race.checkpoints.find(({ id }) => id === checkpoint)?.name ?? distanceWords(metres);
  const doubt = uncertainty > CERTAIN_S ? ` ± ${Math.round(uncertainty)} s` : "";
  return `${passWords(name, at)}${doubt}`;
}

/**
 * Return the time at a place as text: "15 km at 10:42:31".
 * @param {string} place
 * @param {number} at
 */
export function passWords(place, at) {
  return gettext("{place} at {time}", { place, time: clockTime(at) });
}

/**
 * Return what comes next: "15 km in 11–13 min", or else the distance.
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
  const left = distanceWords(next.distance - (runner.fix?.progress ?? 0));
  return gettext("{place} in {distance}", { place: next.name, distance: left });
}

/**
 * Return a range from now, such as "in 11–13 min" or "about now", or "" if none is known.
 * @param {Arrival} arrival
 * @param {number} now
 */
export function rangeWords({ earliest, latest }, now) {
  if (earliest === null || latest === null) return "";
  const [from, to] = [(earliest - now) / MINUTE_MS, (latest - now) / MINUTE_MS];
  if (to < 1) return gettext("about now");
  const [low, high] = [Math.max(0, Math.floor(from)), Math.ceil(to)];
  if (low >= 60) return gettext("in {span}", { span: `${hours(low)}–${hours(high)} h` });
  return gettext("in {span}", { span: low === high ? `${low} min` : `${low}–${high} min` });
}

/**
 * Return when a runner is expected to finish: "Finish 13:41–13:48", or "" if unknown.
 * @param {Checkpoint} finish
 * @param {Arrival | null} arrival
 */
export function finishWords({ name }, arrival) {
  if (!arrival?.earliest || !arrival.latest) return "";
  return `${name} ${minuteRange(arrival.earliest, arrival.latest)}`;
}

/**
 * Return where a silent runner is estimated to be: "Estimated at 17.6–18.3 km", or "".
 * @param {{from: number, to: number} | null} probable m
 */
export function probableWords(probable) {
  if (!probable) return "";
  const [from, to] = [distance(probable.from), distance(probable.to)];
  if (!from || !to) return "";
  const low = from.unit === to.unit ? from.value : `${from.value} ${from.unit}`;
  const range = low === to.value ? low : `${low}–${to.value}`;
  return gettext("Estimated at {range}", { range: `${range} ${to.unit}` });
}

/**
 * Return the gap to a runner ahead, and whether it has changed since the checkpoint
 * before: "0:34 behind Ann at 10 km, 0:05 less than at 5 km".
 * @param {string} name of the runner ahead
 * @param {{name: string, gap: number}} last checkpoint that both have passed, ms
 * @param {{name: string, gap: number} | null} before the checkpoint before that one
 */
export function gapWords(name, last, before) {
  const change = before ? last.gap - before.gap : 0;
  const values = {
    name, place: last.name, gap: duration(Math.abs(last.gap)),
    change: duration(Math.abs(change)), before: before?.name ?? "",
  };
  if (last.gap < 0) return gettext("{gap} ahead of {name} at {place}", values);
  if (Math.abs(change) < SAME_GAP_MS) return gettext("{gap} behind {name} at {place}", values);
  return change < 0
    ? gettext("{gap} behind {name} at {place}, {change} less than at {before}", values)
    : gettext("{gap} behind {name} at {place}, {change} more than at {before}", values);
}

/**
 * Return a finisher's rank in the category: "3rd in M40", or "" without a category.
 * @param {import("./results.js").Result | null} result
 */
export function categoryWords(result) {
  if (!result?.category || !result.category_rank) return "";
  return gettext("{rank} in {category}", {
    rank: ordinal(result.category_rank), category: result.category,
  });
}

/** @param {number} minutes */
function hours(minutes) {
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
}

/**
 * Return how far a runner is from the visitor: "1.3 km from you".
 * @param {Runner} runner
 * @param {import("./polyline.js").LngLat | null} here
 */
export function awayWords({ fix }, here) {
  if (fix === null || here === null) return "";
  const away = distanceWords(metresBetween([fix.lng, fix.lat], here));
  return gettext("{distance} from you", { distance: away });
}

/**
 * Return a warning about a runner's phone: a low battery, or an uncertain position.
 * @param {Runner} runner
 * @param {number} now
 */
export function phoneWords({ fix, battery, accuracy, state, estimated }, now) {
  if (fix === null || estimated || FINAL.has(state ?? "")) return "";
  const isSilent = ["stale", "lost"].includes(liveness(fix.t, now));
  const percent = Math.round(battery ?? 100);
  if (percent < LOW_BATTERY_PERCENT) {
    // For a silent runner, the battery may be the reason.
    return isSilent
      ? gettext("Battery was low: {count} %", { count: percent })
      : gettext("Battery low: {count} %", { count: percent });
  }
  if (isSilent || (accuracy ?? 0) <= UNCERTAIN_M) return "";
  return gettext("Accurate to {distance}", { distance: distanceWords(accuracy ?? 0) });
}
