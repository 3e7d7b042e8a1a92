// Times and ranks of finishers, requested from the server's standings and cached.

const EVERY_MS = 60_000;
const PATIENCE_MS = 10_000;
// Runners that one request may name, as on the server (views/races/listing.py).
const RUNNER_LIMIT = 100;

/**
 * One finisher of `standings.json`. The time is in ms since the wave's gun.
 * @typedef {{
 *   rank: number | null, category: string, category_rank: number | null,
 *   gun_time: number | null,
 * }} Result
 * @typedef {import("./store.js").Runner} Runner
 */

/** The results of the finishers among my runners, requested again every minute. */
export class Results {
  #url;
  #headers;
  #onChange;
  #fetch;
  /** @type {Map<string, {askedAt: number, result: Result | null}>} by race and runner */
  #kept = new Map();

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
   * Return a finisher's result, or null before the first response.
   * @param {Runner} runner
   * @returns {Result | null}
   */
  of(runner) {
    if (runner.state !== "finished") return null;
    return this.#kept.get(keyOf(runner))?.result ?? null;
  }

  /**
   * Request the results of finishers that are missing or outdated, one request per race.
   * @param {Runner[]} runners
   * @param {number} time the page's running time, ms
   */
  refresh(runners, time) {
    /** @type {Map<string, Runner[]>} */
    const races = new Map();
    for (const runner of runners) {
      if (runner.state !== "finished" || runner.race === null) continue;
      const kept = this.#kept.get(keyOf(runner));
      if (kept && time - kept.askedAt < EVERY_MS) continue;
      this.#kept.set(keyOf(runner), { askedAt: time, result: kept?.result ?? null });
      races.set(runner.race, [...(races.get(runner.race) ?? []), runner]);
    }
    for (const [slug, finishers] of races) this.#request(slug, finishers);
  }

  /**
   * @param {string} slug
   * @param {Runner[]} finishers
   */
  async #request(slug, finishers) {
    try {
      for (let from = 0; from < finishers.length; from += RUNNER_LIMIT) {
        const named = finishers.slice(from, from + RUNNER_LIMIT);
        const query = new URLSearchParams({ runners: named.map(({ code }) => code).join() });
        const response = await this.#fetch(`${this.#url.replace("SLUG", slug)}?${query}`, {
          headers: this.#headers,
          signal: AbortSignal.timeout(PATIENCE_MS),
        });
        if (!response.ok) return;
        const { standings } = await response.json();
        const rows = new Map(standings.map((/** @type {any} */ row) => [row.runner, row]));
        for (const runner of named) {
          const kept = this.#kept.get(keyOf(runner));
          if (kept) kept.result = rows.get(runner.code) ?? null;
        }
      }
    } catch {
      // Keep what is known. The next request may succeed.
      return;
    }
    this.#onChange();
  }
}

/** @param {Runner} runner */
function keyOf({ race, code }) {
  return `${race} ${code}`;
}
