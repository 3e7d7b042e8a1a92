// This browser's push subscription at its push service.

import { gettext } from "../language.js";

const WORKER = new URL("../notify/worker.js", import.meta.url);
// The cache in which the worker finds the page of a runner seen by a link.
const PAGES = "spectate-notify";

/** Return the reason why this browser cannot be notified, as a sentence, or "". */
export function obstacle() {
  if (!globalThis.isSecureContext) return gettext("Browsers allow notifications on https: pages only.");
  if (!("serviceWorker" in navigator && "PushManager" in globalThis)) {
    return gettext("This browser does not support notifications. On an iPhone or iPad, add this page to the Home Screen first, and open it there.");
  }
  if (Notification.permission === "denied") {
    return gettext("You have forbidden notifications for this site: allow them in the browser’s settings.");
  }
  return "";
}

/**
 * Return the existing subscription, or null.
 * @returns {Promise<PushSubscriptionJSON | null>}
 */
export async function subscription() {
  if (obstacle()) return null;
  const registration = await navigator.serviceWorker.getRegistration(new URL(".", WORKER));
  return (await registration?.pushManager.getSubscription())?.toJSON() ?? null;
}

/**
 * Ask for permission and subscribe. Throws an error with a sentence. Browsers require a
 * call while a button is pressed.
 * @param {string} key the server's, base64url
 * @returns {Promise<PushSubscriptionJSON>}
 */
export async function subscribe(key) {
  if ((await Notification.requestPermission()) !== "granted") {
    throw new Error(gettext("Notifications were not allowed, so you get none here."));
  }
  const registration = await active(await navigator.serviceWorker.register(WORKER));
  try {
    const found = await registration.pushManager.getSubscription();
    // The subscription was created for an earlier key of the server.
    if (found && !isFor(found, key)) await found.unsubscribe();
    const options = { userVisibleOnly: true, applicationServerKey: key };
    return (await registration.pushManager.subscribe(options)).toJSON();
  } catch {
    throw new Error(gettext("The browser’s push service cannot be reached just now. Try again later."));
  }
}

/**
 * Store the page that shows a runner, for visitors with a link.
 * @param {string[]} codes
 */
export async function storePage(codes) {
  const pages = await caches.open(PAGES);
  for (const code of codes) await pages.put(`/notify/${code}`, new Response(location.pathname));
}

/** @param {PushSubscription} found @param {string} key */
function isFor({ options }, key) {
  const bytes = new Uint8Array(options?.applicationServerKey ?? []);
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "") === key;
}

/**
 * Wait until a worker is active. `ready` would wait for the page's own scope.
 * @param {ServiceWorkerRegistration} registration
 * @returns {Promise<ServiceWorkerRegistration>}
 */
function active(registration) {
  const worker = registration.active ?? registration.waiting ?? registration.installing;
  return new Promise((resolve, reject) => {
    const check = () => {
      if (worker?.state === "activated") resolve(registration);
      if (worker?.state === "redundant") reject(new Error(gettext("The page’s worker did not start. Reload the page.")));
    };
    worker?.addEventListener("statechange", check);
    check();
  });
}
