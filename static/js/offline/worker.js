// The service worker of live pages and of the map's own worker: without a connection, the page
// of a public race, or of all public runners, shows its last picture, and the parts of the
// replay that it has shown. It keeps what the server marks, which is for no account and no
// secret link, and pages without the rows of runners; picture.js keeps those (docs/privacy.md).

/** @typedef {Event & {waitUntil: (work: Promise<unknown>) => void}} OfflineEvent */
/**
 * @typedef {OfflineEvent & {
 *   request: Request, respondWith: (answer: Promise<Response>) => void,
 * }} OfflineFetch
 */

const PICTURES = "spectate-picture";
const REPLAYS = "spectate-replay";
const KEPT = "Spectate-Kept";
const MARK = "Spectate-Offline";
// Older pages and pictures are deleted: who was visible then may be hidden now.
const MAX_AGE_MS = 6 * 3_600_000;
// A connection that does not answer counts as none after this time.
const NO_ANSWER_MS = 8_000;
const LIVE_PAGE = /^\/(races\/[\w-]+\/)?$/;
const FIRST = /^\?(race=[\w-]+|public=1)$/;
const REPLAY = /^\/races\/[\w-]+\/replay\.json$/;
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
  const address = url.pathname + url.search;
  if (LIVE_PAGE.test(url.pathname)) fetching.respondWith(answerOrKept(fetching, url.pathname, keepMarked));
  else if (REPLAY.test(url.pathname)) fetching.respondWith(answerOrKept(fetching, address, keepMarked));
  else if (url.pathname === "/live.json" && FIRST.test(url.search)) {
    fetching.respondWith(answerOrKept(fetching, address, async () => {}));
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
  const cache = await cacheOf(key);
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

// A page or a part of a replay. What may not be kept any more is deleted.
/** @param {string} key @param {Response} response @param {string} search */
async function keepMarked(key, response, search) {
  const cache = await cacheOf(key);
  if (!response.ok || !response.headers.has(MARK)) {
    if (response.status < 500) await cache.delete(key);
    return;
  }
  // A page of a shared runner has their name in its preview.
  if (!key.endsWith(search)) return;
  const text = (await response.text()).replace(/(<ul class="rows">)[\s\S]*?(<\/ul>)/, "$1$2");
  const headers = new Headers(response.headers);
  for (const name of ["Content-Encoding", "Content-Length"]) headers.delete(name);
  headers.set(KEPT, String(Date.now()));
  await cache.put(key, new Response(text, { headers }));
}

/** @param {string} key */
function cacheOf(key) {
  return caches.open(key.includes("/replay.json") ? REPLAYS : PICTURES);
}
