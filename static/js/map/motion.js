// Computes where the markers of followed runners are drawn: slightly in the past, gliding
// along the course from fix to fix, and for some seconds ahead of the last one.

import { liveness } from "../liveness.js";
import { metresBetween, placeFrom } from "../metres.js";

// The greatest delay of a marker behind its runner.
const MOST_BEHIND_MS = 5000;
// The tolerance for irregular fixes.
const LEEWAY_MS = 150;
// How far ahead of the last fix a marker may move.
const MOST_AHEAD_MS = 5000;
// After a greater distance, which is a correction or a long silence, the marker jumps.
const JUMP_M = 300;
// Runners farther from the course are not on it.
const OFF_M = 80;
// The factor by which time runs faster or slower while a marker's delay changes.
const SLEW = 0.25;
// Corrections by a new fix fade within about three times this.
const FADE_MS = 300;
// Older pictures are not continued.
const JUST_NOW_MS = 500;
// Slower runners do not move.
const SLOWEST_M_PER_S = 0.5;

/**
 * `predicted`: the position is ahead of the last fix, which was at `from`.
 * @typedef {import("../polyline.js").LngLat} LngLat
 * @typedef {import("../along.js").Along} Along
 * @typedef {import("../store.js").TrailPoint} TrailPoint
 * @typedef {import("../store.js").Runner & {fix: import("../protocol.js").Fix}} Positioned
 * @typedef {{at: LngLat, time: number, predicted: boolean, from: LngLat}} Shown
 * @typedef {{
 *   runner: Positioned, along: Along | null, t: number, wanted: number, behind: number,
 *   seen: number, error: LngLat, erred: number, last: LngLat | null,
 * }} Track
 */

/** Moves markers. Times are the server's, in ms. */
export class Motion {
  /** @type {Map<string, Track>} by code */
  #tracks = new Map();

  /**
   * Update a runner.
   * @param {Positioned} runner
   * @param {Along | null} along the course they are on
   * @param {number} now
   */
  aim(runner, along, now) {
    const { fix } = runner;
    const track = this.#tracks.get(runner.code);
    if (!track) {
      const before = runner.trail[runner.trail.length - 2];
      const often = before ? Math.min(MOST_BEHIND_MS, fix.t - before[0]) + LEEWAY_MS : 0;
      const wanted = Math.min(MOST_BEHIND_MS, Math.max(0, now - fix.t) + often);
      this.#tracks.set(runner.code, {
        runner, along, t: fix.t, wanted, behind: wanted, seen: now, error: [0, 0], erred: 0,
        last: null,
      });
      return;
    }
    if (fix.t === track.t) {
      Object.assign(track, { runner, along });
      return;
    }
    // The position as last drawn, because the runner's own trail has the new fix already.
    const before = now - track.seen < JUST_NOW_MS ? track.last : null;
    // The marker must reach this fix after the next one has arrived.
    const next = Math.max(0, now - fix.t) + fix.t - track.t + LEEWAY_MS;
    const wanted = Math.min(MOST_BEHIND_MS, next);
    const share = wanted > track.wanted ? 0.5 : 0.1;
    track.wanted += share * (wanted - track.wanted);
    Object.assign(track, { runner, along, t: fix.t, error: [0, 0], erred: now });
    const after = this.place(runner.code, now).at;
    if (before && metresBetween(before, after) < JUMP_M) {
      track.error = [before[0] - after[0], before[1] - after[1]];
    }
  }

  /**
   * Return the current position of a runner's marker.
   * @param {string} code of a runner who was aimed
   * @param {number} now
   * @returns {Shown}
   */
  place(code, now) {
    const track = this.#tracks.get(code);
    if (!track) throw new Error(`${code} has not been aimed.`);
    // A frame may be earlier than the message that it follows. Do not step back.
    if (track.seen - now < JUST_NOW_MS) now = Math.max(now, track.seen);
    const past = Math.max(0, now - track.seen);
    const change = track.wanted - track.behind;
    track.behind += Math.sign(change) * Math.min(Math.abs(change), SLEW * past);
    track.seen = now;
    const shown = placeAt(track, now - track.behind, now);
    const left = Math.exp(-Math.abs(now - track.erred) / FADE_MS);
    if (left > 0.02) {
      shown.at = [shown.at[0] + left * track.error[0], shown.at[1] + left * track.error[1]];
    }
    track.last = shown.at;
    return shown;
  }

  /**
   * Return whether any marker is moving.
   * @param {number} now
   */
  isMoving(now) {
    for (const { t, behind, wanted, erred } of this.#tracks.values()) {
      if (now - Math.max(behind, wanted) < t + MOST_AHEAD_MS || now < erred + 4 * FADE_MS) return true;
    }
    return false;
  }

  /**
   * Discard all except these runners.
   * @param {Set<string>} codes
   */
  keep(codes) {
    for (const code of this.#tracks.keys()) if (!codes.has(code)) this.#tracks.delete(code);
  }
}

/**
 * Return the position of a runner who is drawn as at `time`.
 * @param {Track} track
 * @param {number} time
 * @param {number} now
 * @returns {Shown}
 */
function placeAt({ runner, along }, time, now) {
  const { fix, trail } = runner;
  /** @type {LngLat} */
  const newest = [fix.lng, fix.lat];
  if (time < fix.t) {
    let next = trail.length - 1;
    while (next > 0 && trail[next - 1][0] > time) next -= 1;
    const [from, to] = [trail[Math.max(0, next - 1)], trail[next]];
    if (!from || !to) return { at: newest, time, predicted: false, from: newest };
    const at = placeBetween(from, to, Math.max(time, from[0]), along);
    return { at, time, predicted: false, from: at };
  }
  const ahead = Math.min(time - fix.t, MOST_AHEAD_MS) / 1000;
  // Runners who may be elsewhere by now are not moved ahead.
  const isRunning =
    liveness(fix.t, now) === "live" &&
    !["finished", "paused", "dnf", "dns", "dsq"].includes(runner.state ?? "") &&
    fix.speed !== null && fix.speed > SLOWEST_M_PER_S;
  const at = isRunning ? forward(fix, ahead * (fix.speed ?? 0), along) : null;
  if (at === null || ahead === 0) return { at: newest, time: fix.t, predicted: false, from: newest };
  return { at, time, predicted: true, from: newest };
}

/**
 * Return a position between two fixes, along the course if both are on it, else straight.
 * @param {TrailPoint} from
 * @param {TrailPoint} to
 * @param {number} time
 * @param {Along | null} along
 * @returns {LngLat}
 */
export function placeBetween([t1, lng1, lat1, progress1], [t2, lng2, lat2, progress2], time, along) {
  /** @type {LngLat} */
  const from = [lng1, lat1];
  /** @type {LngLat} */
  const to = [lng2, lat2];
  if (t2 <= t1 || metresBetween(from, to) > JUMP_M) return to;
  const share = (time - t1) / (t2 - t1);
  if (along && progress1 !== null && progress2 !== null && progress2 >= progress1) {
    const [off1, off2] = [offset(from, along.place(progress1)), offset(to, along.place(progress2))];
    if (off1 && off2) {
      const at = along.place(progress1 + share * (progress2 - progress1));
      return [at[0] + mix(off1[0], off2[0], share), at[1] + mix(off1[1], off2[1], share)];
    }
  }
  return [mix(lng1, lng2, share), mix(lat1, lat2, share)];
}

/**
 * Return a position ahead of a fix, or null if the direction is unknown.
 * @param {import("../protocol.js").Fix} fix
 * @param {number} metres
 * @param {Along | null} along
 * @returns {LngLat | null}
 */
function forward({ lng, lat, heading, progress }, metres, along) {
  if (along && progress !== null) {
    const off = offset([lng, lat], along.place(progress));
    if (off) {
      const at = along.place(progress + metres);
      return [at[0] + off[0], at[1] + off[1]];
    }
  }
  return heading === null ? null : placeFrom([lng, lat], heading, metres);
}

/**
 * Return a position relative to the course, or null if it is too far away.
 * @param {LngLat} place
 * @param {LngLat} course
 * @returns {LngLat | null}
 */
function offset(place, course) {
  if (metresBetween(place, course) > OFF_M) return null;
  return [place[0] - course[0], place[1] - course[1]];
}

/** @param {number} from @param {number} to @param {number} share */
function mix(from, to, share) {
  return from + share * (to - from);
}
