// The replay: fetches chunks of positions on demand, and returns the positions of all
// runners at a time.

import { placeBetween } from "./map/motion.js";

// Limit of cached chunks, besides those shown.
const MOST_KEPT = 12;
// Two points farther apart are not connected.
const GAP_MS = 60_000;
const CHUNK_MS = 300_000; // the same as on the server

/**
 * @typedef {import("./store.js").Runner} Runner
 * @typedef {import("./store.js").TrailPoint} TrailPoint
 * @typedef {Map<string, TrailPoint[]>} Chunk
 */

/** The chunks of a race's replay. */
export class Replay {
  #url;
  #headers;
  #onChange;
  #fetch;
  /** @type {Map<number, Chunk | null>} by beginning, those used last at the end */
  #chunks = new Map();
  #start;
  /** @type {Set<number>} when waves were started, ms */
  #guns = new Set();
  /** @type {Map<string, number>} when their own wave was, by code */
  #gunOf = new Map();
  /** Whether all waves are shown as if they had started together. */
  isMassStart = false;

  /**
   * @param {{
   *   url: string, start: number, headers: Record<string, string>,
   *   onChange: () => void, fetch?: typeof fetch,
   * }} options `start`: of the race, ms
   */
  constructor({ url, start, headers, onChange, fetch: ask }) {
    this.#url = url;
    this.#start = start;
    this.#headers = headers;
    this.#onChange = onChange;
    this.#fetch = ask ?? ((...request) => fetch(...request));
  }

  /** Return whether there is more than one start. */
  get hasWaves() {
    return this.#guns.size > 1;
  }

  /**
   * Return by how many ms a runner is shown earlier than they ran.
   * @param {string | null} code
   */
  shift(code) {
    if (!this.isMassStart || code === null) return 0;
    return (this.#gunOf.get(code) ?? this.#start) - this.#start;
  }

  #shifts() {
    return this.isMassStart ? [...this.#guns].map((gun) => gun - this.#start) : [0];
  }

  /**
   * Return the runners at a time. Those without data at that time have no fix.
   * @param {Runner[]} runners
   * @param {number} time ms
   * @param {number} tail ms of trail
   * @param {(runner: Runner) => import("./along.js").Along | null} alongOf
   * @param {(runner: Runner) => number | null} timeOf a finisher's time since the gun, ms
   * @returns {Runner[]}
   */
  at(runners, time, tail, alongOf, timeOf = () => null) {
    return runners.map((runner) => {
      const shift = this.shift(runner.code);
      const trail = this.#points(runner.code, time - tail, time, shift);
      const next = this.#next(runner.code, time, shift);
      const last = trail[trail.length - 1];
      // Their current state does not apply to that time.
      const state = this.#hasFinished(runner.code, time + shift, timeOf(runner)) ? "finished" : null;
      const bare = { ...runner, state, accuracy: null, trail: [], fix: null };
      if (!last) return bare;
      if (next && next[0] - last[0] < GAP_MS) {
        const [lng, lat] = placeBetween(last, next, time, alongOf(runner));
        const share = (time - last[0]) / (next[0] - last[0]);
        const progress =
          last[3] === null || next[3] === null ? null : last[3] + share * (next[3] - last[3]);
        const speed =
          last[3] === null || next[3] === null ? null : ((next[3] - last[3]) * 1000) / (next[0] - last[0]);
        const t = Math.round(time);
        trail.push([t, lng, lat, progress]);
        return { ...bare, trail, fix: { t, lng, lat, progress, speed, heading: null } };
      }
      const [t, lng, lat, progress] = last;
      return { ...bare, trail, fix: { t, lng, lat, progress, speed: null, heading: null } };
    });
  }

  /**
   * Fetch the chunks around a time and return whether they are loaded.
   * @param {number} time
   * @param {number} tail
   */
  prepare(time, tail) {
    /** @type {Set<number>} */
    const wanted = new Set();
    let isThere = true;
    for (const shift of this.#shifts()) {
      const here = beginOf(time + shift);
      wanted.add(here).add(here + CHUNK_MS);
      for (let begins = here - CHUNK_MS; begins > time + shift - tail - CHUNK_MS; begins -= CHUNK_MS) {
        wanted.add(begins);
      }
      isThere &&= Boolean(this.#chunks.get(here));
    }
    for (const begins of wanted) if (!this.#chunks.has(begins)) this.#get(begins);
    for (const begins of this.#chunks.keys()) {
      if (this.#chunks.size <= MOST_KEPT + wanted.size) break;
      if (!wanted.has(begins)) this.#chunks.delete(begins);
    }
    return isThere;
  }

  /** @param {string} code @param {number} at @param {number | null} time */
  #hasFinished(code, at, time) {
    return time !== null && at >= (this.#gunOf.get(code) ?? this.#start) + time;
  }

  /** @param {number} begins */
  async #get(begins) {
    this.#chunks.set(begins, null);
    try {
      const response = await this.#fetch(`${this.#url}?from=${begins}`, { headers: this.#headers });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const { runners, guns } = await response.json();
      this.#guns = new Set(guns);
      /** @type {Chunk} */
      const chunk = new Map();
      for (const { code, gun, points } of runners) {
        this.#gunOf.set(code, gun);
        chunk.set(code, points.map((/** @type {any} */ [t, lat, lng, progress]) => [t, lng, lat, progress]));
      }
      this.#chunks.set(begins, chunk);
      this.#onChange();
    } catch {
      // Fetched again when needed again, not immediately.
      setTimeout(() => this.#chunks.delete(begins), 3000);
    }
  }

  // Both return points with the times at which they are shown.

  /** @param {string} code @param {number} from @param {number} to @param {number} shift */
  #points(code, from, to, shift) {
    /** @type {TrailPoint[]} */
    const points = [];
    for (let begins = beginOf(from + shift); begins <= to + shift; begins += CHUNK_MS) {
      for (const point of this.#chunks.get(begins)?.get(code) ?? []) {
        if (point[0] >= from + shift && point[0] <= to + shift) points.push(earlier(point, shift));
      }
    }
    return points;
  }

  /** @param {string} code @param {number} time @param {number} shift */
  #next(code, time, shift) {
    const here = beginOf(time + shift);
    for (const begins of [here, here + CHUNK_MS]) {
      const next = this.#chunks.get(begins)?.get(code)?.find(([t]) => t > time + shift);
      if (next) return earlier(next, shift);
    }
    return null;
  }
}

/** @param {number} time */
function beginOf(time) {
  return time - (time % CHUNK_MS);
}

/** @param {TrailPoint} point @param {number} shift @returns {TrailPoint} */
function earlier([t, lng, lat, progress], shift) {
  return [t - shift, lng, lat, progress];
}
