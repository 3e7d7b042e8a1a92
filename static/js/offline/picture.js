// Keeps the last picture of a public race, or of all public runners, in this browser, for a
// reload without a connection. The page reads it as its first snapshot.

const WORKER = new URL("../offline/worker.js", import.meta.url);
// Has the pictures of all pages, and the shown parts of replays, which the worker keeps.
const NAME = "spectate-picture";
const KEPT = "Spectate-Kept";
const EVERY_MS = 15_000;
// Runners that are written in one task.
const AT_ONCE = 1_000;

/** @typedef {import("../store.js").Runner} Runner */

/** The picture of one page. */
export class Picture {
  #first;
  #runners;
  #time;
  /** @type {Record<string, any> | null} the snapshot without its runners */
  #rest = null;
  /** @type {Set<string>} runners with a place in the kept picture */
  #placed = new Set();
  #isKeeping = false;
  #isWanted = false;
  #isForgotten = false;

  /**
   * @param {{
   *   first: string, runners: () => Iterable<Runner>, time: () => number | null,
   * }} options `first`: the URL of the first snapshot; `time`: of the newest frame, or null
   *   while there is no connection
   */
  constructor({ first, runners, time }) {
    this.#first = first;
    this.#runners = runners;
    this.#time = time;
  }

  /** Start the worker, and keep the picture from now on. */
  async start() {
    if (!("serviceWorker" in navigator && "caches" in globalThis)) return;
    const { pathname } = location;
    await navigator.serviceWorker.register(WORKER, { scope: "/" });
    await controlled();
    // What the page has loaded before the worker could keep it.
    const files = performance.getEntriesByType("resource").map(({ name }) => name)
      .filter((name) => new URL(name).origin === location.origin && /\/(static|words)\//.test(name));
    await Promise.allSettled([pathname, ...new Set(files)].map((url) => fetch(url)));
    await this.keep();
    setInterval(() => document.hidden || this.keep(), EVERY_MS);
    document.addEventListener("visibilitychange", () => document.hidden && this.keep());
  }

  /**
   * If somebody, or where they were, may no longer be seen, delete all pictures and replays,
   * and keep this page's picture anew. Other changes wait for the next time.
   * @param {Record<string, any>} event after the store has processed it
   */
  async receive({ kind, change, runner }) {
    const isErased = kind === "runner" && runner?.fix === null && this.#placed.has(runner.code);
    if (kind !== "access" && change !== "removed" && !isErased) return;
    await caches.delete(NAME);
    await this.keep();
  }

  /** Replace the kept picture, and once more if this was called meanwhile. */
  async keep() {
    this.#isWanted = true;
    if (this.#isKeeping) return;
    this.#isKeeping = true;
    while (this.#isWanted) {
      this.#isWanted = false;
      // The next time may succeed.
      await this.#replace().catch((error) => console.info(error.message));
    }
    this.#isKeeping = false;
  }

  async #replace() {
    if (this.#time() === null || !navigator.serviceWorker.controller) return;
    this.#rest ??= await this.#read();
    // If it is deleted meanwhile, what is put into it is not kept.
    const cache = await caches.open(NAME);
    const time = this.#time();
    if (this.#rest === null || time === null || this.#isForgotten) return;
    const items = [...this.#runners()].map(itemOf);
    const parts = [JSON.stringify({ ...this.#rest, time }).slice(0, -1), ',"runners":['];
    for (let from = 0; from < items.length; from += AT_ONCE) {
      // As thousands take long, input is handled in between.
      if (from) await new Promise((resolve) => setTimeout(resolve));
      // Somebody may no longer be seen, and the picture is made again.
      if (this.#isWanted || this.#isForgotten) return;
      const text = JSON.stringify(items.slice(from, from + AT_ONCE)).slice(1, -1);
      parts.push(from ? "," : "", text);
    }
    const body = new Blob([...parts, "]}"]);
    const headers = { "Content-Type": "application/json", [KEPT]: String(Date.now()) };
    try {
      await cache.put(this.#first, new Response(body, { headers }));
      this.#placed = new Set(items.filter(({ fix }) => fix).map(({ code }) => code));
    } catch (error) {
      // The storage is full. The picture in it may show who may no longer be seen.
      await caches.delete(NAME);
      throw error;
    }
  }

  // Return the first snapshot without its runners.
  async #read() {
    const response = await fetch(this.#first);
    if (!response.ok) return null;
    const { runners: _, ...rest } = await response.json();
    return rest;
  }

  /** Delete what is kept, because the page's access has ended. */
  async forget() {
    this.#isForgotten = true;
    await caches.delete(NAME);
  }
}

/**
 * Return a runner as in a snapshot.
 * @param {Runner} runner
 */
export function itemOf({ code, name, bib, colour, state, race, accuracy, battery, estimate, fix }) {
  const row = fix && [
    fix.t, fix.lat, fix.lng, fix.speed, fix.heading, fix.progress, fix.uncertainty,
  ];
  return { code, name, bib, colour, state, race, accuracy, battery, estimate, trail: "", fix: row };
}

// Wait until the worker answers this page's requests.
function controlled() {
  if (navigator.serviceWorker.controller) return Promise.resolve();
  return new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
  });
}
