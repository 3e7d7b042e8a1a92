// What the visitor chose, remembered in this browser: units, and whose clock.

const UNITS = "spectate.units";
const CLOCK = "spectate.clock";
// Where races are run in miles.
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

/** Whether distances are miles and feet. */
export function isImperial() {
  return imperial;
}

/** @param {boolean} wanted */
export function chooseImperial(wanted) {
  imperial = wanted;
  keep(UNITS, wanted ? "imperial" : "metric");
}

/** The zone of the times of day; undefined: the visitor's own. */
export function zone() {
  return ownClock ? undefined : raceZone;
}

/**
 * Show times of day as the clocks at the race do. Says whether that is any different.
 *
 * @param {string} timeZone
 * @param {number} time ms, of the race: zones may part in summer only
 */
export function useRaceZone(timeZone, time) {
  const there = { timeZone, dateStyle: "short", timeStyle: "short" };
  const here = { ...there, timeZone: undefined };
  const tell = (/** @type {any} */ how) => new Intl.DateTimeFormat("en", how).format(time);
  try {
    raceZone = tell(there) === tell(here) ? undefined : timeZone;
  } catch {
    // A zone that this browser has not heard of.
    raceZone = undefined;
  }
  return raceZone !== undefined;
}

/** Whether the visitor wants their own clock's times. */
export function isOwnClock() {
  return ownClock;
}

/** @param {boolean} wanted */
export function chooseOwnClock(wanted) {
  ownClock = wanted;
  keep(CLOCK, wanted ? "own" : "race");
}

/**
 * Have a function called at each change.
 *
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
    // Storage is full or forbidden: it holds until the page is left.
  }
  for (const listener of listeners) listener();
}
