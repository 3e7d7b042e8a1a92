// The owner of this browser as a phone: a token from a link, or one created for the
// signed-in runner.

import { gettext } from "../language.js";

/**
 * @typedef {{token: string, runner: string, name: string}} Identity
 * @typedef {{
 *   signedIn: boolean, runner: {code: string, name: string} | null, csrf: string,
 * }} Account
 */

/**
 * Remove the token from the address, which others may see and bookmarks keep. Browsers
 * never send a fragment to a server.
 */
export function readTokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (location.hash) history.replaceState(null, "", location.pathname);
  return token;
}

/**
 * Return the signed-in user, or null while the server is unavailable.
 * @returns {Promise<Account | null>}
 */
export async function readAccount() {
  try {
    const answer = await fetch("/share/me.json");
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/**
 * Return the runner of this token. Throws an error with a sentence.
 * @param {string} token
 * @returns {Promise<Identity>}
 */
export async function ownerOfToken(token) {
  const answer = await requestToken("/share/token/", { headers: { Authorization: `Bearer ${token}` } });
  if (answer.ok) return { token, ...(await answer.json()) };
  throw new Error(gettext("This link was revoked or is not complete. Ask for a new one."));
}

/**
 * Create a token for this browser. Throws an error with a sentence.
 * @param {Account} account
 * @returns {Promise<Identity>}
 */
export async function makeToken({ csrf }) {
  const answer = await requestToken("/share/token/", {
    method: "POST",
    headers: { "X-CSRFToken": csrf },
    body: new URLSearchParams({ device: device(navigator.userAgent) }),
  });
  if (answer.ok) return answer.json();
  if (answer.status === 429) throw new Error((await answer.json()).detail);
  throw new Error(gettext("You were signed out. Reload this page and sign in again."));
}

/** @param {string} path @param {RequestInit} request */
async function requestToken(path, request) {
  try {
    return await fetch(path, request);
  } catch {
    throw new Error(gettext("The server cannot be reached. Try again when there is a connection."));
  }
}

/**
 * Return the kind of browser, by which its token is recognised: "Chrome, Android".
 * @param {string} agent
 */
export function device(agent) {
  const browsers = { Firefox: /Firefox|FxiOS/, Edge: /Edg/, Chrome: /Chrome|CriOS/, Safari: /Safari/ };
  const systems = {
    iPhone: /iPhone/,
    iPad: /iPad/,
    Android: /Android/,
    Windows: /Windows/,
    Mac: /Mac OS/,
    Linux: /Linux/,
  };
  const first = (/** @type {Record<string, RegExp>} */ kinds) =>
    Object.keys(kinds).find((kind) => kinds[kind].test(agent));
  return [first(browsers), first(systems)].filter(Boolean).join(", ");
}
