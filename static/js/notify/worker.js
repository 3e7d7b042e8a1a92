// The service worker that shows notifications while no page is open. Separate from the
// worker of /share/, so that spectators need not fetch the files that that one caches.

/** @typedef {Event & {waitUntil: (work: Promise<unknown>) => void}} LastingEvent */
/**
 * A message of the server (runners/notifying/notifier.py). `at` is in ms.
 * @typedef {{
 *   title: string, body: string, url: string, tag: string, runner: string, at: number,
 *   urgent: boolean,
 * }} Notice
 */

const PAGES = "spectate-notify";
const scope = /** @type {any} */ (globalThis);
const icon = new URL("../../icons/phone-192.png", location.href).href;

addEventListener("install", () => scope.skipWaiting());

addEventListener("push", (event) => {
  const { data } = /** @type {any} */ (event);
  /** @type {LastingEvent} */ (event).waitUntil(show(data.json()));
});

addEventListener("notificationclick", (event) => {
  const { notification } = /** @type {any} */ (event);
  notification.close();
  /** @type {LastingEvent} */ (event).waitUntil(open(notification.data));
});

/** @param {Notice} notice */
function show({ title, body, url, tag, runner, at, urgent }) {
  return scope.registration.showNotification(title, {
    body, tag, icon,
    timestamp: at,
    // A call for help stays until somebody has reacted.
    requireInteraction: urgent,
    data: { url, runner },
  });
}

/** @param {{url: string, runner: string}} notice */
async function open({ url, runner }) {
  const pages = await caches.open(PAGES);
  const kept = await (await pages.match(`/notify/${runner}`))?.text();
  const isOurs = url.startsWith("/");
  const wanted = new URL(isOurs && kept ? kept : url, location.origin);
  const windows = await scope.clients.matchAll({ type: "window", includeUncontrolled: true });
  const there = windows.find((/** @type {any} */ client) => new URL(client.url).pathname === wanted.pathname);
  if (isOurs && there) return there.focus();
  return scope.clients.openWindow(wanted.href);
}
