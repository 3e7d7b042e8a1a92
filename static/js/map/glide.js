// Lets a marker glide from fix to fix instead of jumping.

import { metresBetween } from "./course.js";

// A marker is never later than this behind its runner. ms.
const MOST_GLIDE = 2000;
// Farther is no run but a correction, or a long silence: jump. m.
const JUMP = 300;

/**
 * `t`: of the fix. `begun`, `lasts`: by the page's running time. ms.
 *
 * @typedef {import("../polyline.js").LngLat} LngLat
 * @typedef {{from: LngLat, to: LngLat, t: number, begun: number, lasts: number}} Glide
 */

/** Where the markers of the followed runners stand on their way to the newest fix. */
export class Glider {
  /** @type {Map<string, Glide>} by code */
  #glides = new Map();

  /**
   * Take the newest fix of a runner.
   *
   * @param {string} code
   * @param {{t: number, lng: number, lat: number}} fix
   * @param {number} time running time of the page, ms
   * @param {{jump?: boolean}} [options]
   */
  aim(code, fix, time, { jump = false } = {}) {
    const glide = this.#glides.get(code);
    if (glide?.t === fix.t) return;
    /** @type {LngLat} */
    const to = [fix.lng, fix.lat];
    const from = glide ? at(glide, time) : to;
    const lasts = glide ? Math.min(MOST_GLIDE, Math.max(0, fix.t - glide.t)) : 0;
    const far = jump || metresBetween(from, to) > JUMP;
    this.#glides.set(code, { from: far ? to : from, to, t: fix.t, begun: time, lasts });
  }

  /**
   * Where a runner's marker stands now.
   *
   * @param {string} code of a runner with a fix
   * @param {number} time
   */
  place(code, time) {
    const glide = this.#glides.get(code);
    if (!glide) throw new Error(`${code} has not been aimed.`);
    return at(glide, time);
  }

  /**
   * Is any marker still on its way?
   *
   * @param {number} time
   */
  isMoving(time) {
    for (const { begun, lasts, from, to } of this.#glides.values()) {
      if (from !== to && time < begun + lasts) return true;
    }
    return false;
  }

  /**
   * Forget all but these runners.
   *
   * @param {Set<string>} codes
   */
  keep(codes) {
    for (const code of this.#glides.keys()) if (!codes.has(code)) this.#glides.delete(code);
  }
}

/** @param {Glide} glide @param {number} time @returns {LngLat} */
function at({ from, to, begun, lasts }, time) {
  const share = lasts ? Math.min(1, (time - begun) / lasts) : 1;
  return [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])];
}
