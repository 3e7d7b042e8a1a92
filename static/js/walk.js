// The visitor's way on foot to a place of the course.

import { hourAndMinute } from "./format.js";
import { gettext } from "./language.js";
import { metresBetween } from "./metres.js";

const WALK_M_PER_MS = 1.25 / 1000;
// Streets are longer than the straight line.
const DETOUR = 1.3;
// Nearer than this a visitor is there.
const THERE_M = 60;
const MINUTE_MS = 60_000;

/** @typedef {import("./polyline.js").LngLat} LngLat */

/**
 * Return how long the walk to a place takes, and when to leave for a runner, or "".
 * @param {LngLat | null} here null: unknown
 * @param {LngLat} place
 * @param {number | null} earliest when the next runner may pass there, ms; null: unknown
 * @param {number} now
 */
export function walkWords(here, place, earliest, now) {
  const away = here && metresBetween(here, place);
  if (away === null || away < THERE_M) return "";
  const walk = (away * DETOUR) / WALK_M_PER_MS;
  const count = Math.ceil(walk / MINUTE_MS);
  if (earliest === null) return gettext("About {count} min on foot", { count });
  const leave = earliest - walk;
  if (leave < now) return gettext("About {count} min on foot: too far for the next runner", { count });
  return gettext("About {count} min on foot: leave by {time}", { count, time: hourAndMinute(leave) });
}
