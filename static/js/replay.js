// The race again: fetches chunks of where the runners were, as they are needed, and says
// where everybody was at a time.

import { placeBetween } from "./map/motion.js";

// Chunks that are kept, besides the one that is shown.
const MOST_KEPT = 12;
// Farther apart two points are no way that was seen. ms.
const GAP = 60_000;
const CHUNK = 300_000; // ms, as on the server

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

  /**
   * @param {{
   *   url: string, headers: Record<string, string>, onChange: () => void,
   *   fetch?: typeof fetch,
   * }} options
   */
  constructor({ url, headers, onChange, fetch: ask }) {
    this.#url = url;
    this.#headers = headers;
    this.#onChange = onChange;
    this.#fetch = ask ?? ((...request) => fetch(...request));
  }

  /**
   * The runners as they were at a time; those of whom nothing is known then have no fix.
   *
   * @param {Runner[]} runners
   * @param {number} time ms
   * @param {number} tail ms of trail
   * @param {(runner: Runner) => import("./along.js").Along | null} alongOf
   * @returns {Runner[]}
   */
  at(runners, time, tail, alongOf) {
    return runners.map((runner) => {
      const trail = this.#points(runner.code, time - tail, time);
      const next = this.#next(runner.code, time);
      const last = trail[trail.length - 1];
      // What they are now says nothing of then.
      const bare = { ...runner, state: null, trail: [], fix: null };
      if (!last) return bare;
      if (next && next[0] - last[0] < GAP) {
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
   * Have the chunks around a time fetched; says whether they are there.
   *
   * @param {number} time
   * @param {number} tail
   */
  prepare(time, tail) {
    const here = time - (time % CHUNK);
    const wanted = [here, here + CHUNK];
    for (let before = here - CHUNK; before > time - tail - CHUNK; before -= CHUNK) wanted.push(before);
    for (const begins of wanted) if (!this.#chunks.has(begins)) this.#get(begins);
    for (const begins of this.#chunks.keys()) {
      if (this.#chunks.size <= MOST_KEPT) break;
      if (!wanted.includes(begins)) this.#chunks.delete(begins);
    }
    return Boolean(this.#chunks.get(here));
  }

  /** @param {number} begins */
  async #get(begins) {
    this.#chunks.set(begins, null);
    try {
      const response = await this.#fetch(`${this.#url}?from=${begins}`, { headers: this.#headers });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const { runners } = await response.json();
      /** @type {Chunk} */
      const chunk = new Map();
      for (const { code, points } of runners) {
        chunk.set(code, points.map((/** @type {any} */ [t, lat, lng, progress]) => [t, lng, lat, progress]));
      }
      this.#chunks.set(begins, chunk);
      this.#onChange();
    } catch {
      // Asked again when it is needed again, not at once.
      setTimeout(() => this.#chunks.delete(begins), 3000);
    }
  }

  /** @param {string} code @param {number} from @param {number} to */
  #points(code, from, to) {
    /** @type {TrailPoint[]} */
    const points = [];
    for (let begins = from - (from % CHUNK); begins <= to; begins += CHUNK) {
      for (const point of this.#chunks.get(begins)?.get(code) ?? []) {
        if (point[0] >= from && point[0] <= to) points.push(point);
      }
    }
    return points;
  }

  /** @param {string} code @param {number} time */
  #next(code, time) {
    const here = time - (time % CHUNK);
    for (const begins of [here, here + CHUNK]) {
      const next = this.#chunks.get(begins)?.get(code)?.find(([t]) => t > time);
      if (next) return next;
    }
    return null;
  }
}
