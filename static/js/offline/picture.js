// Keeps the last picture of a public race in this browser, for a reload without a
// connection. The page reads it as its first snapshot.

const WORKER = new URL("worker.js", import.meta.url);
const NAME = "spectate-picture";
const KEPT = "Spectate-Kept";
const EVERY_MS = 15_000;

/** @typedef {import("../store.js").Runner} Runner */

/** The picture of one page. */
export class Picture {
  #first;
  #map;
  #runners;
  #time;
  /** @type {number | null} time of the kept picture */
  #keptTime = null;

  /**
   * @param {{
   *   first: string, map: string | null, runners: () => Iterable<Runner>,
   *   time: () => number | null,
   * }} options `first`: the URL of the first snapshot; `map`: that of the map's own
   *   worker; `time`: of the newest frame, or null while there is no connection
   */
  constructor({ first, map, runners, time }) {
    this.#first = first;
    this.#map = map;
    this.#runners = runners;
    this.#time = time;
  }

  /** Start the worker, and keep the picture from now on. */
  async start() {
    if (!("serviceWorker" in navigator && "caches" in globalThis)) return;
    const { pathname } = location;
    await navigator.serviceWorker.register(WORKER, { scope: "/races/" });
    // The script of a worker is requested from the service worker of its own address.
    if (this.#map) {
      const { pathname: scope } = new URL(".", new URL(this.#map, location.href));
      await navigator.serviceWorker.register(WORKER, { scope });
    }
    await controlled();
    // What the page has loaded before the worker could keep it.
    const files = performance.getEntriesByType("resource").map(({ name }) => name)
      .filter((name) => new URL(name).origin === location.origin && /\/(static|words)\//.test(name));
    await Promise.allSettled([pathname, ...new Set(files)].map((url) => fetch(url)));
    await this.keep();
    setInterval(() => this.keep(), EVERY_MS);
    document.addEventListener("visibilitychange", () => document.hidden && this.keep());
  }

  /** Replace the kept picture, at once when a runner may no longer be seen. */
  async keep() {
    const time = this.#time();
    if (time === null || !navigator.serviceWorker.controller) return;
    const cache = await caches.open(NAME);
    const before = this.#keptTime === null ? await fetch(this.#first) : await cache.match(this.#first);
    if (!before?.ok) return;
    const picture = await before.json();
    const body = JSON.stringify({ ...picture, time, runners: [...this.#runners()].map(itemOf) });
    const headers = { "Content-Type": "application/json", [KEPT]: String(Date.now()) };
    await cache.put(this.#first, new Response(body, { headers }));
    this.#keptTime = time;
  }

  /** Delete the picture, because the page's access has ended. */
  async forget() {
    await (await caches.open(NAME)).delete(this.#first);
  }
}

/**
 * Return a runner as in a snapshot.
 * @param {Runner} runner
 */
export function itemOf({ code, name, bib, colour, state, race, accuracy, battery, fix }) {
  const row = fix && [
    fix.t, fix.lat, fix.lng, fix.speed, fix.heading, fix.progress, fix.uncertainty,
  ];
  return { code, name, bib, colour, state, race, accuracy, battery, trail: "", fix: row };
}

// Wait until the worker answers this page's requests.
function controlled() {
  if (navigator.serviceWorker.controller) return Promise.resolve();
  return new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
  });
}
