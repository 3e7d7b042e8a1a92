// The service worker of the site: without a connection, the page of a public race, or of all
// public runners, shows its last picture, and the parts of the replay that it has shown. It
// keeps what the server marks, which is for no account and no secret link, the tiles that such
// a page requests, and static files; picture.js keeps the picture (docs/privacy.md).

/** @typedef {Event & {waitUntil: (work: Promise<unknown>) => void}} OfflineEvent */
/**
 * @typedef {OfflineEvent & {
 *   request: Request, clientId: string, respondWith: (answer: Promise<Response>) => void,
 * }} OfflineFetch
 * @typedef {(cache: Cache, key: string, response: Response, event: OfflineFetch) => Promise<void>} Keep
 */

// Pages without the rows of runners, and their files.
const FILES = "spectate-page";
// Pictures and replays.
const POSITIONS = "spectate-picture";
// The most entries; the oldest are deleted.
const LIMITS = { [FILES]: 300, [POSITIONS]: 36 };
// Older entries are deleted: who was visible then may be hidden now.
const MAX_AGE_MS = 6 * 3_600_000;
const KEPT = "Spectate-Kept";
const MARK = "Spectate-Offline";
// A connection that does not answer counts as none after this time.
const NO_ANSWER_MS = 8_000;
const LIVE_PAGE = /^\/(races\/[\w-]+\/)?$/;
const FIRST = /^\?(race=[\w-]+|public=1)$/;
const REPLAY = /^\/races\/[\w-]+\/replay\.json$/;
const TILE = /^\/races\/[\w-]+\/map\//;
const TEXTS = /^\/words\//;
const STATIC = new URL("../../", location.href).pathname;
const controller = /** @type {any} */ (globalThis);
/** @type {Promise<void> | null} */
let deleting = null;

addEventListener("install", () => controller.skipWaiting());
addEventListener("activate", (event) => {
  /** @type {OfflineEvent} */ (event).waitUntil(controller.clients.claim());
});

addEventListener("fetch", (event) => {
  const fetching = /** @type {OfflineFetch} */ (event);
  const { request } = fetching;
  const { origin, pathname, search } = new URL(request.url);
  // Requests behind a share link have this header.
  if (request.method !== "GET" || origin !== location.origin || request.headers.has("Spectate-Share")) return;
  /** @param {string} name @param {string} key @param {Keep} keep */
  const answer = (name, key, keep) => fetching.respondWith(answerOrKept(fetching, name, key, keep));
  if (LIVE_PAGE.test(pathname)) answer(FILES, pathname, keepMarked);
  else if (REPLAY.test(pathname)) answer(POSITIONS, pathname + search, keepMarked);
  else if (pathname === "/live.json" && FIRST.test(search)) answer(POSITIONS, pathname + search, async () => {});
  else if (TILE.test(pathname)) answer(FILES, pathname, keepTile);
  else if (pathname.startsWith(STATIC) || TEXTS.test(pathname)) answer(FILES, pathname, keepFile);
});

/**
 * Answer from the network, or else with what was kept.
 * @param {OfflineFetch} event
 * @param {string} name the cache
 * @param {string} key
 * @param {Keep} keep
 */
async function answerOrKept(event, name, key, keep) {
  // Opened before the request is sent: if the cache is deleted meanwhile, because somebody
  // hides, this is still the deleted one, and the answer is not put into the new one.
  const opened = caches.open(name);
  const fresh = fetch(event.request);
  const late = new Promise((resolve) => setTimeout(resolve, NO_ANSWER_MS));
  try {
    const response = await Promise.race([fresh, late]);
    if (response instanceof Response) {
      const copy = response.clone();
      event.waitUntil(opened.then((cache) => keep(cache, key, copy, event)));
      return response;
    }
  } catch {
    // There is no connection.
  }
  fresh.catch(() => {});
  event.waitUntil(deleteOld());
  const found = await (await opened).match(key);
  return found && !isOld(found) ? found : fresh;
}

/**
 * Keep a page or a part of a replay. What may not be kept any more is deleted.
 * @type {Keep}
 */
async function keepMarked(cache, key, response, { request }) {
  if (!response.ok || !response.headers.has(MARK)) {
    if (response.status < 500) await cache.delete(key);
    return;
  }
  // A page of a shared runner has their name in its preview.
  if (!key.endsWith(new URL(request.url).search)) return;
  const text = await response.text();
  await put(cache, key, response, text.replace(/(<ul class="rows">)[\s\S]*?(<\/ul>)/, "$1$2"));
}

/**
 * Keep a tile that a kept page requests, but none of the map of an account's zones.
 * @type {Keep}
 */
async function keepTile(cache, key, response, event) {
  const client = await controller.clients.get(event.clientId);
  const page = client && await cache.match(new URL(client.url).pathname);
  if (page) await keepFile(cache, key, response, event);
}

/** @type {Keep} */
async function keepFile(cache, key, response) {
  if (response.ok && !response.redirected) await put(cache, key, response, response.body);
}

/**
 * @param {Cache} cache @param {string} key @param {Response} response
 * @param {BodyInit | null} body in place of the response's
 */
async function put(cache, key, { status, headers: sent }, body) {
  const headers = new Headers(sent);
  for (const name of ["Content-Encoding", "Content-Length"]) headers.delete(name);
  headers.set(KEPT, String(Date.now()));
  await cache.put(key, new Response(body, { status, headers }));
  await deleteOld();
}

/** Delete what is too old, and the oldest above the limits. A page's many files share a run. */
function deleteOld() {
  deleting ??= deleteOldNow().finally(() => (deleting = null));
  return deleting;
}

async function deleteOldNow() {
  for (const [name, limit] of Object.entries(LIMITS)) {
    const cache = await caches.open(name);
    // In the order in which they were put.
    const keys = await cache.keys();
    for (const [n, key] of keys.entries()) {
      const isSpare = n < keys.length - limit;
      if (isSpare || isOld(await cache.match(key))) await cache.delete(key);
    }
  }
}

/** @param {Response | undefined} response */
function isOld(response) {
  return Date.now() - Number(response?.headers.get(KEPT)) >= MAX_AGE_MS;
}
