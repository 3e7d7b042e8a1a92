// The service worker of /races/ and of the map's own worker: without a connection, the page of a public race shows
// its last picture. It keeps pages that the server marks, which have no account and no
// secret link, without the rows of runners; picture.js keeps those (docs/privacy.md).

/** @typedef {Event & {waitUntil: (work: Promise<unknown>) => void}} OfflineEvent */
/**
 * @typedef {OfflineEvent & {
 *   request: Request, respondWith: (answer: Promise<Response>) => void,
 * }} OfflineFetch
 */

const PICTURES = "spectate-picture";
const KEPT = "Spectate-Kept";
const MARK = "Spectate-Offline";
// Older pages and pictures are deleted: who was visible then may be hidden now.
const MAX_AGE_MS = 6 * 3_600_000;
// A connection that does not answer counts as none after this time.
const NO_ANSWER_MS = 8_000;
const RACE_PAGE = /^\/races\/[\w-]+\/$/;
const FILES = [/^\/words\//, /^\/races\/[\w-]+\/map\//];
const STATIC = new URL("../../", location.href).pathname;
const controller = /** @type {any} */ (globalThis);

addEventListener("install", () => controller.skipWaiting());
addEventListener("activate", (event) => {
  /** @type {OfflineEvent} */ (event).waitUntil(controller.clients.claim());
});

addEventListener("fetch", (event) => {
  const fetching = /** @type {OfflineFetch} */ (event);
  const { request } = fetching;
  const url = new URL(request.url);
  // Requests behind a share link have this header.
  if (request.method !== "GET" || url.origin !== location.origin || request.headers.has("Spectate-Share")) return;
  if (RACE_PAGE.test(url.pathname)) fetching.respondWith(answerOrKept(fetching, url.pathname, keepPage));
  else if (url.pathname === "/live.json" && /^\?race=[\w-]+$/.test(url.search)) {
    fetching.respondWith(answerOrKept(fetching, url.pathname + url.search, async () => {}));
  } else if (url.pathname.startsWith(STATIC) || FILES.some((files) => files.test(url.pathname))) {
    fetching.respondWith(answerOrKept(fetching, url.pathname, keepFile));
  }
});

/**
 * Answer from the network, or else with what was kept.
 * @param {OfflineFetch} event
 * @param {string} key
 * @param {(key: string, response: Response, search: string) => Promise<void>} keep
 */
async function answerOrKept(event, key, keep) {
  const fresh = fetch(event.request);
  const late = new Promise((resolve) => setTimeout(resolve, NO_ANSWER_MS));
  try {
    const response = await Promise.race([fresh, late]);
    if (response instanceof Response) {
      event.waitUntil(keep(key, response.clone(), new URL(event.request.url).search));
      return response;
    }
  } catch {
    // There is no connection.
  }
  fresh.catch(() => {});
  return (await kept(key)) ?? fresh;
}

/** @param {string} key */
async function kept(key) {
  const cache = await caches.open(PICTURES);
  const found = await cache.match(key);
  const at = found?.headers.get(KEPT);
  if (!at || Date.now() - Number(at) < MAX_AGE_MS) return found;
  await cache.delete(key);
  return undefined;
}

/** @param {string} key @param {Response} response */
async function keepFile(key, response) {
  if (response.ok && !response.redirected) await (await caches.open(PICTURES)).put(key, response);
}

// A page that may not be kept any more is deleted.
/** @param {string} key @param {Response} response @param {string} search */
async function keepPage(key, response, search) {
  const cache = await caches.open(PICTURES);
  if (!response.ok || !response.headers.has(MARK)) {
    if (response.status < 500) await cache.delete(key);
    return;
  }
  // A page of a shared runner has their name in its preview.
  if (search) return;
  const html = (await response.text()).replace(/(<ul class="rows">)[\s\S]*?(<\/ul>)/, "$1$2");
  const headers = new Headers(response.headers);
  for (const name of ["Content-Encoding", "Content-Length"]) headers.delete(name);
  headers.set(KEPT, String(Date.now()));
  await cache.put(key, new Response(html, { headers }));
}
