// The visitor's choices, which this browser stores: units, and the time zone of clock
// times.

const UNITS = "spectate.units";
const CLOCK = "spectate.clock";
// Countries where races are run in miles.
const IMPERIAL = new Set(["US", "GB", "LR", "MM"]);

/** @type {Set<() => void>} */
const listeners = new Set();

let imperial = (kept(UNITS) ?? usualUnits()) === "imperial";
let ownClock = kept(CLOCK) === "own";
/** @type {string | undefined} the race's zone, where it is not the visitor's */
let raceZone;

function usualUnits() {
  const tag = globalThis.document ? navigator.language : "en";
  const region = new Intl.Locale(tag || "en").region ?? "";
  return IMPERIAL.has(region) ? "imperial" : "metric";
}

/** Return whether distances are shown in miles and feet. */
export function isImperial() {
  return imperial;
}

/** @param {boolean} wanted */
export function chooseImperial(wanted) {
  imperial = wanted;
  keep(UNITS, wanted ? "imperial" : "metric");
}

/** Return the time zone of clock times, or undefined for the visitor's own. */
export function zone() {
  return ownClock ? undefined : raceZone;
}

/**
 * Show clock times in the race's time zone. Return whether this changes them.
 * @param {string} timeZone
 * @param {number} time ms, of the race: zones may part in summer only
 */
export function useRaceZone(timeZone, time) {
  const there = { timeZone, dateStyle: "short", timeStyle: "short" };
  const here = { ...there, timeZone: undefined };
  const format = (/** @type {any} */ how) => new Intl.DateTimeFormat("en", how).format(time);
  try {
    raceZone = format(there) === format(here) ? undefined : timeZone;
  } catch {
    // This browser does not know the time zone.
    raceZone = undefined;
  }
  return raceZone !== undefined;
}

/** Return whether the visitor wants times in their own time zone. */
export function isOwnClock() {
  return ownClock;
}

/** @param {boolean} wanted */
export function chooseOwnClock(wanted) {
  ownClock = wanted;
  keep(CLOCK, wanted ? "own" : "race");
}

/**
 * Call a function at each change.
 * @param {() => void} listener
 */
export function onChoice(listener) {
  listeners.add(listener);
}

/** @param {string} key */
function kept(key) {
  try {
    return globalThis.localStorage?.getItem(key) ?? null;
  } catch {
    return null;
  }
}

/** @param {string} key @param {string} value */
function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is full or forbidden, so the choice holds until the page is closed.
  }
  for (const listener of listeners) listener();
}
