// Times and ranks of finishers, requested from the server's standings and cached.

import { requestField, requestNamed } from "./named.js";

const EVERY_MS = 60_000;
// More finishers are requested with the whole field, whose answer the server shares.
const MOST_NAMED = 20;

/**
 * One finisher of `standings.json`. The time is in ms since the wave's gun.
 * @typedef {{
 *   rank: number | null, category: string, category_rank: number | null,
 *   gun_time: number | null,
 * }} Result
 * @typedef {import("./store.js").Runner} Runner
 */

/** The results of the page's finishers, requested again every minute. */
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
      const rows = await this.#rows(this.#url.replace("SLUG", slug), finishers);
      for (const runner of finishers) {
        const kept = this.#kept.get(keyOf(runner));
        if (kept) kept.result = rows.get(runner.code) ?? null;
      }
    } catch {
      // Keep what is known. The next request may succeed.
      return;
    }
    this.#onChange();
  }

  /** @param {string} url @param {Runner[]} finishers @returns {Promise<Map<string, any>>} */
  async #rows(url, finishers) {
    const rows = new Map();
    const add = (/** @type {any} */ answer) => {
      for (const row of answer.standings) rows.set(row.runner, row);
    };
    const headers = this.#headers;
    if (finishers.length > MOST_NAMED) {
      for await (const answer of requestField(this.#fetch, url, { headers })) add(answer);
    } else {
      const codes = finishers.map(({ code }) => code);
      for await (const { answer } of requestNamed(this.#fetch, url, { headers, codes })) add(answer);
    }
    return rows;
  }
}

/** @param {{race: string | null, code: string}} runner */
function keyOf({ race, code }) {
  return `${race} ${code}`;
}
