// Times and ranks of finishers, requested from the server's standings and cached.

import { requestField, requestNamed } from "./named.js";

const EVERY_MS = 60_000;
// New finishers are requested together: for at least this time after the first, and on
// average half as long again, so that the pages of a race do not all ask at once.
const GATHER_MS = 10_000;
const NEW_EVERY_MS = 20_000;
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

/** The results of one race. Times are those of the page, in ms. */
class RaceResults {
  askedAt = -Infinity;
  // Of the last request for all finishers.
  refreshedAt = -Infinity;
  /** @type {number | null} when a finisher without a result was seen first */
  newAt = null;
  /** @type {Map<string, Result | null>} by runner; null if the standings do not have them */
  kept = new Map();

  /**
   * Return the finishers to request now.
   * @param {Runner[]} finishers
   * @param {number} time
   * @param {number} gather ms
   */
  due(finishers, time, gather) {
    // Before the first finish there is nothing to refresh, and everybody sees it at once.
    if (finishers.length === 0) this.refreshedAt = time;
    if (time - this.refreshedAt >= EVERY_MS) return finishers;
    const missing = finishers.filter(({ code }) => !this.kept.has(code));
    if (missing.length === 0) return [];
    this.newAt ??= time;
    const isDue = time - this.newAt >= gather && time - this.askedAt >= NEW_EVERY_MS;
    return isDue ? missing : [];
  }
}

/** The results of the page's finishers, requested again every minute. */
export class Results {
  #url;
  #headers;
  #onChange;
  #fetch;
  #gather;
  /** @type {Map<string, RaceResults>} */
  #races = new Map();

  /**
   * @param {{
   *   url: string, headers: Record<string, string>, onChange: () => void,
   *   fetch?: typeof fetch, random?: () => number,
   * }} options `url` has SLUG in place of a race
   */
  constructor({ url, headers, onChange, fetch: request, random = Math.random }) {
    this.#url = url;
    this.#headers = headers;
    this.#onChange = onChange;
    this.#fetch = request ?? ((...options) => fetch(...options));
    this.#gather = GATHER_MS * (1 + random());
  }

  /**
   * Return a finisher's result, or null before the first response.
   * @param {Runner} runner
   * @returns {Result | null}
   */
  of({ code, race, state }) {
    if (state !== "finished") return null;
    return this.#races.get(race ?? "")?.kept.get(code) ?? null;
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
      if (runner.race === null) continue;
      const finishers = races.get(runner.race) ?? [];
      races.set(runner.race, finishers);
      if (runner.state === "finished") finishers.push(runner);
    }
    for (const [slug, finishers] of races) {
      const race = this.#races.get(slug) ?? new RaceResults();
      this.#races.set(slug, race);
      const due = race.due(finishers, time, this.#gather);
      if (due.length === 0) continue;
      const isWhole = due.length > MOST_NAMED;
      if (isWhole || due.length === finishers.length) race.refreshedAt = time;
      race.askedAt = time;
      race.newAt = null;
      this.#request(slug, race, due, isWhole);
    }
  }

  /**
   * @param {string} slug
   * @param {RaceResults} race
   * @param {Runner[]} finishers
   * @param {boolean} isWhole
   */
  async #request(slug, { kept }, finishers, isWhole) {
    const url = this.#url.replace("SLUG", slug);
    const codes = finishers.map(({ code }) => code);
    try {
      const rows = await this.#rows(url, isWhole ? null : codes);
      for (const code of codes) kept.set(code, rows.get(code) ?? null);
      // The whole field may have finishers of whom the page has not yet been told.
      for (const [code, row] of rows) if (row.status === "finished") kept.set(code, row);
    } catch {
      // Keep what is known. The next request may succeed.
      return;
    }
    this.#onChange();
  }

  /** @param {string} url @param {string[] | null} codes null: the whole field @returns {Promise<Map<string, any>>} */
  async #rows(url, codes) {
    const rows = new Map();
    const add = (/** @type {any} */ answer) => {
      for (const row of answer.standings) rows.set(row.runner, row);
    };
    const headers = this.#headers;
    if (codes === null) {
      for await (const answer of requestField(this.#fetch, url, { headers })) add(answer);
    } else {
      for await (const { answer } of requestNamed(this.#fetch, url, { headers, codes })) add(answer);
    }
    return rows;
  }
}
