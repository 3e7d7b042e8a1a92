// Numbers and times as text, in the visitor's units, time zone and language.

import { isImperial, zone } from "./choices.js";
import { gettext, language, number } from "./language.js";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

// A pace is shown above this speed only. Slower runners stand, or the speed is the
// phone's noise.
const SLOWEST_M_PER_S = 0.5;
export const MILE_M = 1609.344;
const FOOT_M = 0.3048;
// Smaller errors of a distance are not shown, because phones that send often have them.
const SHOWN_ERROR_M = 150;
// Shorter distances are shown in feet.
const FEET_UNTIL_M = 0.2 * MILE_M;

/** @typedef {{value: string, unit: string}} Figure */

/**
 * Return a distance in metres as text, such as "12.4 ± 0.5" where it is uncertain. Null
 * stays null.
 * @param {number | null} metres
 * @param {number | null} [deviation] its standard deviation, m
 * @returns {Figure | null}
 */
export function distance(metres, deviation) {
  if (metres === null) return null;
  const { size, digits, unit } = unitFor(metres);
  const value = number(metres / size, digits);
  const error = reach(deviation);
  return { value: error ? `${value} ± ${number(error / size, digits)}` : value, unit };
}

/**
 * Return the half-width of the 95 % interval of a distance in metres, or 0 if it is
 * negligible.
 * @param {number | null} [deviation] its standard deviation, m
 */
export function reach(deviation) {
  const error = 2 * (deviation ?? 0);
  return error < SHOWN_ERROR_M ? 0 : error;
}

/** @param {number} metres */
function unitFor(metres) {
  if (isImperial()) {
    return metres < FEET_UNTIL_M
      ? { size: FOOT_M, digits: 0, unit: "ft" }
      : { size: MILE_M, digits: 1, unit: "mi" };
  }
  return metres < 1000
    ? { size: 1, digits: 0, unit: "m" }
    : { size: 1000, digits: 1, unit: "km" };
}

/**
 * Return a distance as text: "1.3 km".
 * @param {number} metres
 * @param {number | null} [deviation] its standard deviation, m
 */
export function distanceWords(metres, deviation) {
  const figure = distance(metres, deviation);
  return figure ? `${figure.value} ${figure.unit}` : "";
}

/**
 * Return a height, or a difference of heights, as text: "48 m".
 * @param {number} metres
 */
export function heightWords(metres) {
  return isImperial() ? `${number(metres / FOOT_M, 0)} ft` : `${number(metres, 0)} m`;
}

/**
 * Return a speed in m/s as minutes per kilometre or mile, or null if it is too slow.
 * @param {number | null} speed
 * @returns {Figure | null}
 */
export function pace(speed) {
  if (speed === null || speed < SLOWEST_M_PER_S) return null;
  const seconds = Math.round((isImperial() ? MILE_M : 1000) / speed);
  return { value: minutes(seconds), unit: isImperial() ? "/mi" : "/km" };
}

/**
 * Return an age as text: "12 s", "4 min", "2 h", "3 d".
 * @param {number} ms
 */
export function age(ms) {
  const past = Math.max(0, ms);
  if (past < MINUTE_MS) return `${Math.floor(past / SECOND_MS)} s`;
  if (past < HOUR_MS) return `${Math.floor(past / MINUTE_MS)} min`;
  if (past < DAY_MS) return `${Math.floor(past / HOUR_MS)} h`;
  return gettext("{count} d", { count: Math.floor(past / DAY_MS) });
}

/**
 * Return a duration as "52:07" or "1:52:07".
 * @param {number} ms
 */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / SECOND_MS));
  const hours = Math.floor(seconds / 3600);
  return hours ? `${hours}:${minutes(seconds % 3600, 2)}` : minutes(seconds);
}

/**
 * Return a time of day with seconds, in the race's time zone if it differs, unless the
 * visitor chose their own.
 * @param {number} ms since the epoch
 */
export function clockTime(ms) {
  return clock({ hour: HOUR, minute: "2-digit", second: "2-digit" }).format(ms);
}

/**
 * Return a time of day without seconds, like `clockTime`.
 * @param {number} ms
 */
export function hourAndMinute(ms) {
  return clock({ hour: HOUR, minute: "2-digit" }).format(ms);
}

/**
 * Return a range of times of day as "13:41–13:48" or "1:41–1:48 PM", or one time if both
 * are in the same minute.
 * @param {number} from
 * @param {number} to
 */
export function minuteRange(from, to) {
  const [first, last] = [from, to].map(hourAndMinute);
  if (first === last) return last;
  // It writes AM or PM once, but also dates if the days differ.
  const date = clock({ month: "numeric", day: "numeric" });
  return HOUR === "numeric" && date.format(from) === date.format(to)
    ? clock({ hour: HOUR, minute: "2-digit" }).formatRange(from, to).replace(/\s*–\s*/, "–")
    : `${first}–${last}`;
}

/**
 * Return a day and a time: "Sunday 4 October, 10:00".
 * @param {number} ms
 */
export function dayAndTime(ms) {
  const parts = /** @type {const} */ ({ weekday: "long", day: "numeric", month: "long" });
  return clock({ ...parts, hour: HOUR, minute: "2-digit" }).format(ms);
}

/**
 * Return a date and a time: "4 Oct, 10:00".
 * @param {number} ms
 */
export function moment(ms) {
  return clock({ day: "numeric", month: "short", hour: HOUR, minute: "2-digit" }).format(ms);
}

// 24 h, unless the visitor's region is known to use 12 h.
const HOURS = language === "en" ? "h23" : undefined;
// Times of 12 h have no leading zero.
const HOUR = new Intl.DateTimeFormat(language, { hour: "numeric", hourCycle: HOURS }).resolvedOptions().hour12
  ? "numeric"
  : "2-digit";
/** @type {Map<string, Intl.DateTimeFormat>} making one takes longer than using it */
const clocks = new Map();

/** @param {Intl.DateTimeFormatOptions} parts */
function clock(parts) {
  const key = `${Object.keys(parts)} ${zone()}`;
  let format = clocks.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat(language, { ...parts, timeZone: zone(), hourCycle: HOURS });
    clocks.set(key, format);
  }
  return format;
}

/**
 * Return the name of a checkpoint. Those that a course has on its own, as long as nobody
 * renames them, are in the reader's language.
 * @param {string} name
 */
export function checkpointName(name) {
  if (name === "Start") return gettext("Start");
  return name === "Finish" ? gettext("Finish") : name;
}

/**
 * Return the text on a runner's disc: the bib, else initials.
 * @param {{bib: string | null, name: string}} runner
 */
export function label(runner) {
  return runner.bib || initials(runner.name);
}

/**
 * "Bob Marsh" → "BM", "Rosalind" → "ROS", "Runner 12" → "R12": part of a number would
 * look like a bib.
 *
 * @param {string} name
 */
export function initials(name) {
  const words = name.trim().split(/\s+/);
  const last = words[words.length - 1];
  const most = words.length > 1 ? 1 : last.length > 4 ? 3 : 4;
  const end = last.match(/^\d+/)?.[0] ?? [...last].slice(0, most).join("");
  const letters = words.length > 1 ? [...words[0]][0] + end : end;
  return letters.toUpperCase() || "?";
}

const WHITE = "#FFFFFF";
// Darker than the page's text, whose contrast on #D55E00 is too low.
const DARK = "#0B1117";

/**
 * Return the text colour, white or dark, with the better contrast.
 * @param {string} colour "#rrggbb"
 */
export function textOn(colour) {
  const light = luminance(colour) + 0.05;
  const onWhite = 1.05 / light;
  const onDark = light / (luminance(DARK) + 0.05);
  return onWhite >= onDark ? WHITE : DARK;
}

/** @param {string} colour */
function luminance(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** @param {number} seconds */
function minutes(seconds, digits = 1) {
  const whole = String(Math.floor(seconds / 60)).padStart(digits, "0");
  return `${whole}:${String(seconds % 60).padStart(2, "0")}`;
}
