// When my runners pass a place: asks the server, and keeps the answers for a while.

const EVERY = 20_000; // ms
const PATIENCE = 10_000; // ms
// Runners that one request may name, as on the server (views/races/eta.py).
const MOST_NAMED = 100;

/**
 * One pass of a place by a runner; times in ms, null where nothing can be said.
 *
 * @typedef {{
 *   code: string, distance: number, pass: number, status: string,
 *   at: number | null, earliest: number | null, latest: number | null,
 * }} Arrival
 */

/** The arrivals at some places, asked again every 20 s while somebody wants them. */
export class Arrivals {
  #url;
  #headers;
  #onChange;
  #fetch;
  /** @type {Map<string, {askedAt: number, arrivals: Arrival[] | null, runners: string}>} */
  #kept = new Map();

  /**
   * @param {{
   *   url: string, headers: Record<string, string>, onChange: () => void,
   *   fetch?: typeof fetch,
   * }} options `url` has SLUG in place of a race
   */
  constructor({ url, headers, onChange, fetch: ask }) {
    this.#url = url;
    this.#headers = headers;
    this.#onChange = onChange;
    this.#fetch = ask ?? ((...request) => fetch(...request));
  }

  /**
   * The arrivals at a place as they were last told, oldest pass first; null before the
   * first answer. Has them asked again when they are old.
   *
   * @param {string} slug
   * @param {string} place metres, or "lat,lng"
   * @param {string[]} codes
   * @param {number} time the page's running time, ms
   */
  at(slug, place, codes, time) {
    const key = `${slug} ${place}`;
    const named = [...codes].sort();
    const runners = named.join();
    const kept = this.#kept.get(key);
    if (!kept || time - kept.askedAt > EVERY || kept.runners !== runners) {
      this.#kept.set(key, { askedAt: time, runners, arrivals: kept?.arrivals ?? null });
      this.#ask(key, this.#url.replace("SLUG", slug), place, named);
    }
    return kept?.arrivals ?? null;
  }

  /**
   * Forget places that nobody asks for any more.
   *
   * @param {number} time
   */
  tidy(time) {
    for (const [key, { askedAt }] of this.#kept) {
      if (time - askedAt > 3 * EVERY) this.#kept.delete(key);
    }
  }

  /** @param {string} key @param {string} url @param {string} place @param {string[]} codes */
  async #ask(key, url, place, codes) {
    /** @type {Arrival[]} */
    const arrivals = [];
    try {
      for (let from = 0; from < codes.length; from += MOST_NAMED) {
        const runners = codes.slice(from, from + MOST_NAMED).join();
        const response = await this.#fetch(`${url}?${new URLSearchParams({ at: place, runners })}`, {
          headers: this.#headers,
          signal: AbortSignal.timeout(PATIENCE),
        });
        if (!response.ok) return;
        arrivals.push(...readArrivals(await response.json()));
      }
    } catch {
      // The next one may come; what is shown of the last one counts down meanwhile.
      return;
    }
    const kept = this.#kept.get(key);
    if (kept) kept.arrivals = arrivals.sort(byTime);
    this.#onChange();
  }
}

/**
 * Read an answer of `eta.json`.
 *
 * @param {any} answer
 * @returns {Arrival[]}
 */
export function readArrivals(answer) {
  return answer.runners.flatMap((/** @type {any} */ { runner, passes }) =>
    passes.map((/** @type {any} */ pass) => ({ code: runner, ...pass })),
  );
}

/** @param {Arrival} a @param {Arrival} b */
function byTime(a, b) {
  return (a.at ?? Infinity) - (b.at ?? Infinity);
}
