// Polls the snapshot where no websocket can be opened.

const EVERY_MS = 5000;
// The time-out of one response.
const PATIENCE_MS = 15_000;

/**
 * `url` is called before each request. `onRefused` gets the body of a final refusal.
 * @typedef {{
 *   url: () => string, headers: Record<string, string>,
 *   onSnapshot: (snapshot: Record<string, any>) => void,
 *   onRefused: (refusal: {code: string, detail: string}) => void,
 *   onFailure: () => void,
 *   fetch?: typeof fetch, every?: number,
 * }} Options
 */

/** Polls while started, and pauses while the page is hidden. */
export class Polling {
  #options;
  #fetch;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #isOn = false;
  #isPolling = false;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#fetch = options.fetch ?? ((...request) => fetch(...request));
  }

  start() {
    if (this.#isOn) return;
    this.#isOn = true;
    this.#poll();
  }

  stop() {
    this.#isOn = false;
    clearTimeout(this.#timer);
  }

  /** Poll now, because the page is visible again. */
  hurry() {
    if (!this.#isOn || this.#isPolling) return;
    clearTimeout(this.#timer);
    this.#poll();
  }

  async #poll() {
    const { url, headers, onSnapshot, onRefused, onFailure, every = EVERY_MS } = this.#options;
    if (globalThis.document?.hidden) {
      this.#timer = setTimeout(() => this.#poll(), every);
      return;
    }
    this.#isPolling = true;
    try {
      const response = await this.#fetch(url(), {
        headers,
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      if (!this.#isOn) return;
      if (response.ok) onSnapshot(await response.json());
      else if (response.status < 500 && response.status !== 429) {
        this.stop();
        onRefused(await response.json());
      } else onFailure();
    } catch {
      if (this.#isOn) onFailure();
    } finally {
      this.#isPolling = false;
      if (this.#isOn) this.#timer = setTimeout(() => this.#poll(), every);
    }
  }
}
