// Predicted times at which my runners pass a place, requested from the server and cached.

import { requestNamed } from "./named.js";

// How long to wait with the next request: a share of the time until the runner arrives,
// within limits. A place that is far away changes little, one that is passed hardly ever.
const EVERY_MS = 20_000;
const LONGEST_MS = 180_000;
const PASSED_EVERY_MS = 600_000;
const SHARE = 0.2;
// Where silent runners are becomes less certain with time.
const SILENT_EVERY_MS = 60_000;

/**
 * One pass of a place by a runner. Times are in ms, or null if unknown.
 * @typedef {{
 *   code: string, distance: number, pass: number, status: string,
 *   at: number | null, earliest: number | null, latest: number | null,
 * }} Arrival
 */

/**
 * Where a silent runner probably is: the middle and the range, m.
 * @typedef {{progress: number, from: number, to: number}} Probable
 */

/**
 * @typedef {{askedAt: number, wait: number, arrivals: Arrival[] | null}} Kept
 * `arrivals` is null before the first response. `wait`: until the next request, ms.
 */

/** The arrivals at places, requested again while the page shows them. */
export class Arrivals {
  #url;
  #headers;
  #onChange;
  #fetch;
  /**
   * By race and place, then by runner, since a place is shown for different runners at
   * the same time.
   * @type {Map<string, Map<string, Kept>>}
   */
  #kept = new Map();
  /** @type {Map<string, Probable>} by race and runner */
  #probable = new Map();

  /**
   * @param {{
   *   url: string, headers: Record<string, string>, onChange: () => void,
   *   fetch?: typeof fetch,
   * }} options `url` has SLUG in place of a race
   */
  constructor({ url, headers, onChange, fetch: request }) {
    this.#url = url;
    this.#headers = headers;
    this.#onChange = onChange;
    this.#fetch = request ?? ((...options) => fetch(...options));
  }

  /**
   * Return the latest arrivals of runners at a place, in the order of passes, or null
   * before the first response. Requests outdated ones again.
   * @param {string} slug
   * @param {string} place metres, or "lat,lng"
   * @param {string[]} codes
   * @param {number} time the page's running time, ms
   */
  at(slug, place, codes, time) {
    const key = `${slug} ${place}`;
    const kept = this.#kept.get(key) ?? new Map();
    this.#kept.set(key, kept);
    const age = (/** @type {string} */ code) => time - (kept.get(code)?.askedAt ?? -Infinity);
    if (codes.some((code) => age(code) > (kept.get(code)?.wait ?? 0))) {
      // Include those that will be outdated soon, to have one request for all.
      const old = codes.filter((code) => age(code) > EVERY_MS / 2).sort();
      for (const code of old) {
        const arrivals = kept.get(code)?.arrivals ?? null;
        kept.set(code, { askedAt: time, wait: EVERY_MS, arrivals });
      }
      this.#request(kept, this.#url.replace("SLUG", slug), place, old);
    }
    const known = codes.flatMap((code) => kept.get(code)?.arrivals ?? []);
    const isAnswered = codes.some((code) => kept.get(code)?.arrivals);
    return isAnswered ? known.sort(byTime) : null;
  }

  /**
   * Return where a silent runner probably is, as of the newest response, or null.
   * @param {string | null} slug
   * @param {string} code
   */
  probable(slug, code) {
    return this.#probable.get(`${slug} ${code}`) ?? null;
  }

  /**
   * Discard runners and places that the page no longer shows.
   *
   * @param {number} time
   */
  tidy(time) {
    for (const [key, kept] of this.#kept) {
      for (const [code, { askedAt }] of kept) {
        if (time - askedAt > 2 * PASSED_EVERY_MS) kept.delete(code);
      }
      if (kept.size === 0) this.#kept.delete(key);
    }
  }

  /**
   * @param {Map<string, Kept>} kept
   * @param {string} url
   * @param {string} place
   * @param {string[]} codes
   */
  async #request(kept, url, place, codes) {
    try {
      const options = { headers: this.#headers, query: { at: place }, codes };
      for await (const { named, answer } of requestNamed(this.#fetch, url, options)) {
        const arrivals = readArrivals(answer);
        for (const { runner, probable } of answer.runners) {
          if (probable) this.#probable.set(`${answer.race} ${runner}`, probable);
          else this.#probable.delete(`${answer.race} ${runner}`);
        }
        for (const code of named) {
          const known = kept.get(code);
          if (!known) continue;
          known.arrivals = arrivals.filter((arrival) => arrival.code === code);
          known.wait = waitOf(known.arrivals, this.probable(answer.race, code), answer.time);
        }
      }
    } catch {
      // Keep the old times, which count down. The next request may succeed.
      return;
    }
    this.#onChange();
  }
}

/**
 * Parse a response of `eta.json`.
 * @param {any} answer
 * @returns {Arrival[]}
 */
function readArrivals(answer) {
  return answer.runners.flatMap((/** @type {any} */ { runner, passes }) =>
    passes.map((/** @type {any} */ pass) => ({ code: runner, ...pass })),
  );
}

/**
 * Return how long the passes of a runner stay useful, in ms.
 * @param {Arrival[]} passes
 * @param {Probable | null} probable
 * @param {number} time when they were computed
 */
function waitOf(passes, probable, time) {
  const isSilent = probable || passes.some(({ status }) => ["silent", "off_course"].includes(status));
  const ahead = passes.filter(({ status }) => status === "expected");
  const left = ahead.map(({ at }) => SHARE * ((at ?? time) - time));
  const isOver = passes.length > 0 && passes.every(({ status }) => status === "passed");
  const longest = isSilent ? SILENT_EVERY_MS : isOver ? PASSED_EVERY_MS : LONGEST_MS;
  return Math.max(EVERY_MS, Math.min(longest, ...left));
}

/** @param {Arrival} a @param {Arrival} b */
function byTime(a, b) {
  return (a.at ?? Infinity) - (b.at ?? Infinity);
}
