// The service worker of /share/, which caches the files of that page for use without a
// connection. Responses about people are not cached.

/** @typedef {Event & {waitUntil: (work: Promise<unknown>) => void}} ExtendableEvent */
/**
 * @typedef {ExtendableEvent & {
 *   request: Request, respondWith: (answer: Promise<Response>) => void,
 * }} FetchEvent
 */

const NAME = "spectate-phone-shell";
const PAGE = "/share/";
// The network comes first, so that a new version is used immediately. On a bad connection
// it has this time.
const PATIENCE_MS = 3000;
const SHELL = [
  "css/spectate.css",
  "css/phone.css",
  "icons/favicon.svg",
  "icons/sprite.svg",
  "js/choices.js",
  "js/clock.js",
  "js/connection.js",
  "js/dom.js",
  "js/format.js",
  "js/language.js",
  "js/protocol.js",
  "js/phone/account.js",
  "js/phone/backlog.js",
  "js/phone/battery.js",
  "js/phone/cheers.js",
  "js/phone/deviceclock.js",
  "js/phone/geolocation.js",
  "js/phone/hold.js",
  "js/phone/page.js",
  "js/phone/queue.js",
  "js/phone/sender.js",
  "js/phone/sos.js",
  "js/phone/wakelock.js",
  "js/phone/words.js",
  "phone.webmanifest",
];
// The page names the texts of its language. English needs none.
const WORDS = /\/words\/[\w-]+\/[\w-]+\.json/;
const static_ = (/** @type {string} */ path) => new URL(`../../${path}`, location.href).pathname;
const files = new Set([PAGE, ...SHELL.map(static_)]);

addEventListener("install", (event) => {
  const installing = /** @type {ExtendableEvent} */ (event);
  installing.waitUntil(fill());
});

addEventListener("fetch", (event) => {
  const fetching = /** @type {FetchEvent} */ (event);
  const { method, url } = fetching.request;
  const { origin, pathname } = new URL(url);
  if (method !== "GET" || origin !== location.origin) return;
  if (!files.has(pathname) && !WORDS.test(pathname)) return;
  fetching.respondWith(answer(fetching.request, pathname));
});

async function fill() {
  const cache = await caches.open(NAME);
  await cache.addAll([...files].map((path) => new Request(path, { cache: "reload" })));
  const page = await (await cache.match(PAGE))?.text();
  const words = page?.match(WORDS)?.[0];
  if (words) await cache.add(words);
}

/**
 * @param {Request} request
 * @param {string} path without a query, which the shell has none of
 */
async function answer(request, path) {
  const cache = await caches.open(NAME);
  const fresh = fetch(request).then(async (response) => {
    // Exclude error pages, and the sign-in pages of public networks.
    if (response.ok && !response.redirected) await cache.put(path, response.clone());
    return response;
  });
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS));
  try {
    const first = await Promise.race([fresh, late]);
    if (first instanceof Response && first.status < 500) return first;
  } catch {
    // There is no connection.
  }
  fresh.catch(() => {});
  return (await cache.match(path)) ?? fresh;
}
