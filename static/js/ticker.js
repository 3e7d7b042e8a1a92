// The latest finishers on the big screen.

import { find } from "./dom.js";
import { ordinal } from "./facts.js";
import { duration } from "./format.js";
import { requestField, requestNamed } from "./named.js";

const EVERY_MS = 10_000;
const SHOWN = 5;
// More finishers, as those before the page was opened, are requested with the field.
const MOST_NAMED = 100;

/**
 * @typedef {{
 *   runner: string, rank: number | null, name: string, bib: string, status: string,
 *   gun_time: number | null, last: {at: number} | null,
 * }} Row a row of `standings.json`; times in ms
 * @typedef {{
 *   url: string, headers: Record<string, string>, finished: () => string[],
 *   fetch?: typeof fetch,
 * }} Options `url` of the race's `standings.json`; `finished`: codes of its finishers
 */

/** The finishers of a race, by the times at which they finished. */
export class Finishers {
  #options;
  /** @type {Map<string, Row>} by runner */
  #rows = new Map();

  /** @param {Options} options */
  constructor({ fetch: request, ...options }) {
    this.#options = { ...options, fetch: request ?? ((...about) => fetch(...about)) };
  }

  /** Request the new finishers, and the shown ones again. Return the last, newest first. */
  async latest() {
    const missing = this.#options.finished().filter((code) => !this.#rows.has(code));
    for await (const { standings } of this.#request(missing)) {
      for (const row of standings) this.#keep(row);
    }
    return this.#newest();
  }

  /** @param {string[]} missing @returns {AsyncGenerator<{standings: Row[]}>} */
  async *#request(missing) {
    const { url, headers, fetch } = this.#options;
    if (missing.length > MOST_NAMED) {
      for await (const answer of requestField(fetch, url, { headers, query: { brief: "0" } })) {
        yield answer;
        // Finishers are the first rows.
        if (answer.standings.at(-1)?.status !== "finished") return;
      }
      return;
    }
    const codes = [...this.#newest().map(({ runner }) => runner), ...missing];
    for await (const { answer } of requestNamed(fetch, url, { headers, codes })) yield answer;
  }

  /** @param {Row} row */
  #keep(row) {
    if (row.status === "finished" && row.gun_time !== null) this.#rows.set(row.runner, row);
    else this.#rows.delete(row.runner);
  }

  // Of those who are visible, as a runner may hide.
  #newest() {
    return this.#options.finished()
      .flatMap((code) => this.#rows.get(code) ?? [])
      .sort((a, b) => (b.last?.at ?? 0) - (a.last?.at ?? 0))
      .slice(0, SHOWN);
  }
}

/**
 * Show the last finishers now and every 10 s.
 * @param {Options} options
 */
export function runTicker(options) {
  const finishers = new Finishers(options);
  const poll = async () => {
    try {
      show(await finishers.latest());
    } catch {
      // Keep the last finishers. The next request may succeed.
    }
  };
  poll();
  setInterval(poll, EVERY_MS);
}

/** @param {Row[]} rows */
function show(rows) {
  find("#ticker").hidden = rows.length === 0;
  find("#ticker ol").replaceChildren(
    ...rows.map(({ rank, name, bib, gun_time }) => {
      const row = document.createElement("li");
      const texts = [rank === null ? "" : ordinal(rank), bib ? `${bib} ${name}` : name, duration(gun_time ?? 0)];
      row.append(...texts.map((text, n) => Object.assign(document.createElement(n === 2 ? "b" : "span"), { textContent: text })));
      return row;
    }),
  );
}
