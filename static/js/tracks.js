// Fetches the tracks of runners whose live positions have a gap.

const CONCURRENT_REQUESTS = 2;
// The delay after a failure.
const RETRY_MS = 5000;

/**
 * `headers` name the share link of the page, if there is one.
 * @typedef {[t: number, lat: number, lng: number, altitude: number | null][]} Points
 * @typedef {{
 *   url: string, headers: Record<string, string>,
 *   onPoints: (code: string, points: Points) => void,
 *   fetch?: typeof fetch, retry?: number,
 * }} Options
 */

/** Fetches tracks until each has arrived, with one request per runner at a time. */
export class Tracks {
  /** @type {Map<string, number>} since when, by code */
  #wanted = new Map();
  #busy = new Set();
  #options;
  #fetch;

  /** @param {Options} options `url` has CODE in place of a runner's code */
  constructor(options) {
    this.#options = options;
    this.#fetch = options.fetch ?? ((...request) => fetch(...request));
  }

  /**
   * Fetch a runner's track, even during a request, because positions may have been stored
   * after its response.
   * @param {string} code
   * @param {number} since ms
   */
  want(code, since) {
    this.#wanted.set(code, Math.min(since, this.#wanted.get(code) ?? since));
    this.#next();
  }

  #next() {
    for (const [code, since] of this.#wanted) {
      if (this.#busy.size >= CONCURRENT_REQUESTS) return;
      if (this.#busy.has(code)) continue;
      this.#wanted.delete(code);
      this.#busy.add(code);
      this.#get(code, since);
    }
  }

  /** @param {string} code @param {number} since */
  async #get(code, since) {
    const { url, headers, onPoints, retry = RETRY_MS } = this.#options;
    try {
      const address = `${url.replace("CODE", code)}?since=${Math.floor(since)}`;
      const response = await this.#fetch(address, { headers });
      // Runners who are gone, or may not be seen, have no track either.
      if (response.status === 404) return;
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      onPoints(code, (await response.json()).points);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, retry));
      this.#wanted.set(code, Math.min(since, this.#wanted.get(code) ?? since));
    } finally {
      this.#busy.delete(code);
      this.#next();
    }
  }
}
