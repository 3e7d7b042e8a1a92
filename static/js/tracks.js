// Fetches the tracks of runners, where the flow of positions has left a gap.

const AT_ONCE = 2;
// After a failure. ms.
const RETRY = 5000;

/**
 * `headers` name the share link that the page stands on, if it does.
 *
 * @typedef {[t: number, lat: number, lng: number, altitude: number | null][]} Points
 * @typedef {{
 *   url: string, headers: Record<string, string>,
 *   onPoints: (code: string, points: Points) => void,
 *   fetch?: typeof fetch, retry?: number,
 * }} Options
 */

/** Fetches tracks until each has come; asks for each runner once at a time. */
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
   * Have a runner's track fetched. A request that is on its way does not do: what is
   * missing may have been stored after it was answered.
   *
   * @param {string} code
   * @param {number} since ms
   */
  want(code, since) {
    this.#wanted.set(code, Math.min(since, this.#wanted.get(code) ?? since));
    this.#next();
  }

  #next() {
    for (const [code, since] of this.#wanted) {
      if (this.#busy.size >= AT_ONCE) return;
      if (this.#busy.has(code)) continue;
      this.#wanted.delete(code);
      this.#busy.add(code);
      this.#get(code, since);
    }
  }

  /** @param {string} code @param {number} since */
  async #get(code, since) {
    const { url, headers, onPoints, retry = RETRY } = this.#options;
    try {
      const address = `${url.replace("CODE", code)}?since=${Math.floor(since)}`;
      const response = await this.#fetch(address, { headers });
      // Who is not there any more, or not for us, has no track either.
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
