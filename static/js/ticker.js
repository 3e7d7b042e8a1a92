// The latest finishers on the big screen.

import { find } from "./dom.js";
import { ordinal } from "./facts.js";
import { duration } from "./format.js";

const EVERY_MS = 10_000;
const PATIENCE_MS = 8000;
const SHOWN = 5;
// Finishers are the first rows of the standings, by time. Later waves finish among them.
const READ = 200;

/**
 * @typedef {{
 *   rank: number | null, name: string, bib: string, state: string,
 *   gun_time: number | null, last: {at: number} | null,
 * }} Row a row of `standings.json`; times in ms
 */

/**
 * Return the last finishers, the newest first.
 * @param {Row[]} rows
 */
export function latestFinishers(rows) {
  return rows
    .filter(({ state, gun_time }) => state === "finished" && gun_time !== null)
    .sort((a, b) => (b.last?.at ?? 0) - (a.last?.at ?? 0))
    .slice(0, SHOWN);
}

/**
 * Show the last finishers now and every 10 s.
 * @param {string} url of the race's `standings.json`
 * @param {Record<string, string>} headers
 */
export function runTicker(url, headers) {
  let finished = 0;
  const poll = async () => {
    const from = Math.max(1, finished - READ / 2);
    const query = new URLSearchParams({ from: String(from), rows: String(READ) });
    try {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      const response = await fetch(`${url}?${query}`, { headers, signal });
      const { standings, states } = await response.json();
      finished = states.finished ?? 0;
      show(latestFinishers(standings));
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
