// Lets a marker glide from fix to fix instead of jumping.

import { metresBetween } from "./course.js";

// A marker is never later than this behind its runner. ms.
const MOST_GLIDE = 2000;
// Farther is no run but a correction, or a long silence: jump. m.
const JUMP = 300;

/** Where the markers of the followed runners stand on their way to the newest fix. */
export class Glider {
  #glides = new Map(); // code → {from, to, t, begun, lasts}

  /** Take the newest fix of a runner, at `time` (running time of the page, ms). */
  aim(code, fix, time, { jump = false } = {}) {
    const glide = this.#glides.get(code);
    if (glide?.t === fix.t) return;
    const to = [fix.lng, fix.lat];
    const from = glide ? at(glide, time) : to;
    const lasts = glide ? Math.min(MOST_GLIDE, Math.max(0, fix.t - glide.t)) : 0;
    const far = jump || metresBetween(from, to) > JUMP;
    this.#glides.set(code, { from: far ? to : from, to, t: fix.t, begun: time, lasts });
  }

  /** Where a runner's marker stands now: [lng, lat]. */
  place(code, time) {
    return at(this.#glides.get(code), time);
  }

  /** Is any marker still on its way? */
  isMoving(time) {
    for (const { begun, lasts, from, to } of this.#glides.values()) {
      if (from !== to && time < begun + lasts) return true;
    }
    return false;
  }

  /** Forget all but these runners. */
  keep(codes) {
    for (const code of this.#glides.keys()) if (!codes.has(code)) this.#glides.delete(code);
  }
}

function at({ from, to, begun, lasts }, time) {
  const share = lasts ? Math.min(1, (time - begun) / lasts) : 1;
  return [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])];
}
