// The visitor's follows, in the account if signed in, otherwise in the browser.

import { gettext } from "./language.js";

const KEY = "spectate.follows";
// The server's status if the runner has refused before.
const REFUSED = "refused";

/**
 * `follow` and `unfollow` are URLs with CODE for a runner's code.
 * @typedef {{
 *   csrf: string, follows: Record<string, string>, follow: string, unfollow: string,
 * }} Account
 * @typedef {BrowserFollows | AccountFollows} Follows
 */

/** Follows stored in this browser. */
export class BrowserFollows {
  #codes;
  #onChange;

  /** @param {() => void} onChange called for other tabs' changes too */
  constructor(onChange) {
    this.#onChange = onChange;
    this.#codes = readKept();
    addEventListener("storage", ({ key }) => {
      if (key !== KEY) return;
      this.#codes = readKept();
      onChange();
    });
  }

  /** @param {string} code */
  has(code) {
    return this.#codes.has(code);
  }

  codes() {
    return [...this.#codes];
  }

  /** @param {string} code */
  async toggle(code) {
    if (!this.#codes.delete(code)) this.#codes.add(code);
    try {
      localStorage.setItem(KEY, JSON.stringify([...this.#codes]));
    } catch {
      // Storage is full or forbidden, so the star holds until the page is closed.
    }
    this.#onChange();
  }
}

/** Follows stored in the account, changed by POST. */
export class AccountFollows {
  #account;
  #statuses;
  #onChange;

  /**
   * @param {Account} account
   * @param {() => void} onChange
   */
  constructor(account, onChange) {
    this.#account = account;
    this.#statuses = new Map(Object.entries(account.follows));
    this.#onChange = onChange;
  }

  /** @param {string} code */
  has(code) {
    return this.#statuses.has(code);
  }

  codes() {
    return [...this.#statuses.keys()];
  }

  /**
   * Change the star immediately. On failure, revert it and throw a sentence.
   * @param {string} code
   */
  async toggle(code) {
    const before = this.#statuses.get(code);
    this.#set(code, before ? undefined : "pending");
    let problem = "";
    const url = before ? this.#account.unfollow : this.#account.follow;
    try {
      const response = await fetch(url.replace("CODE", code), {
        method: "POST",
        headers: { "X-CSRFToken": this.#account.csrf },
      });
      if (!response.ok) throw new Error(String(response.status));
      const { status } = await response.json();
      this.#set(code, status === REFUSED ? undefined : (status ?? undefined));
      if (status === REFUSED) problem = gettext("This runner did not accept your request.");
    } catch (error) {
      this.#set(code, before);
      problem =
        error instanceof Error && error.message === "403"
          ? gettext("You were signed out, so this was not saved. Reload the page and sign in.")
          : gettext("This was not saved: the server did not answer. Try again.");
    }
    if (problem) throw new Error(problem);
  }

  /** @param {string} code @param {string | undefined} status */
  #set(code, status) {
    if (status) this.#statuses.set(code, status);
    else this.#statuses.delete(code);
    this.#onChange();
  }
}

/** @returns {Set<string>} */
function readKept() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return new Set(Array.isArray(kept) ? kept.filter((code) => typeof code === "string") : []);
  } catch {
    return new Set();
  }
}
