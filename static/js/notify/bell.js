// The bell, which chooses the runners whose events are notified to this browser or by
// mail.

import { gettext } from "../language.js";
import { device } from "../phone/account.js";
import { obstacle, storePage, subscribe, subscription } from "./push.js";

const STATE = "/notifications/bell.json";
const CHOOSE = "/notifications/";
const MINE = "/me/notifications/";
// The kinds that are chosen by default.
const USUAL = ["start", "checkpoint", "finish", "silence"];

/**
 * @typedef {{
 *   csrf: string, key: string, kinds: [kind: string, words: string][], signedIn: boolean,
 *   mailOffered: boolean, mail: string | null,
 * }} State
 * @typedef {Record<string, string[]>} Alerts kinds by runner's code
 */

/**
 * Return the initial state of the boxes, from the alerts of these runners.
 * @param {string[]} codes
 * @param {{push: Alerts, mail: Alerts}} alerts
 * @param {{canPush: boolean, canMail: boolean}} can
 */
export function atFirst(codes, { push, mail }, { canPush, canMail }) {
  const inPush = codes.filter((code) => code in push);
  const inMail = codes.filter((code) => code in mail);
  const chosen = [...inPush.map((code) => push[code]), ...inMail.map((code) => mail[code])];
  return {
    kinds: chosen.length ? [...new Set(chosen.flat())] : USUAL,
    push: inPush.length > 0 || (canPush && chosen.length === 0),
    mail: inMail.length > 0 || (canMail && !canPush && chosen.length === 0),
    isTold: chosen.length > 0,
  };
}

/** The bells of the page, and the dialog that they open. */
export class Bell {
  #headers;
  #row = document.createElement("div");
  /** @type {{code: string, name: string} | null} */
  #runner = null;
  /** @type {HTMLDialogElement | null} */
  #dialog = null;

  /**
   * `headers` name the share link of the page. `mine` has the codes of followed runners.
   * @param {{headers: Record<string, string>, icons: string, mine: () => string[]}} options
   */
  constructor({ headers, icons, mine }) {
    this.#headers = headers;
    this.#row.className = "cheer-row bell-row";
    const one = button("", gettext("Notify me"));
    one.prepend(icon(icons));
    one.addEventListener("click", () => {
      const { code, name } = this.#runner ?? {};
      if (code) this.#open([code], gettext("Notify me about {name}", { name: name ?? "" }));
    });
    this.#row.append(one);
    const all = button("chip", gettext("Notifications"));
    all.id = "bell";
    all.prepend(icon(icons));
    all.addEventListener("click", () => this.#open(mine(), gettext("Notify me about my runners")));
    document.querySelector("#away")?.before(all);
  }

  /**
   * Move the bell to a runner's row, or remove it.
   * @param {{code: string, name: string} | null | undefined} runner
   */
  show(runner) {
    this.#runner = runner ?? null;
    const row = runner && document.querySelector(`#list [data-runner="${runner.code}"]`);
    if (!row) this.#row.remove();
    else if (this.#row.parentElement !== row) row.append(this.#row);
  }

  /** @param {string[]} codes @param {string} title */
  async #open(codes, title) {
    this.#dialog?.remove();
    const dialog = document.createElement("dialog");
    this.#dialog = dialog;
    dialog.className = "bell";
    dialog.setAttribute("aria-label", title);
    dialog.append(element("h2", title), statusLine(gettext("One moment")));
    document.body.append(dialog);
    dialog.addEventListener("close", () => dialog.remove());
    // A click on the dialog itself is outside of its content.
    dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
    dialog.showModal();
    try {
      const state = /** @type {State} */ (await answer(fetch(STATE)));
      const push = await subscription();
      const alerts = await this.#choose(state, { push });
      this.#fill(dialog, codes, state, alerts);
    } catch (error) {
      find(dialog, ".says").textContent = sentence(error);
      dialog.append(actions(closing(dialog)));
    }
  }

  /** @param {HTMLDialogElement} dialog @param {string[]} codes @param {State} state @param {{push: Alerts, mail: Alerts}} alerts */
  #fill(dialog, codes, state, alerts) {
    const problem = obstacle();
    const first = atFirst(codes, alerts, { canPush: !problem, canMail: state.mail !== null });
    const form = document.createElement("form");
    form.method = "dialog";
    const kinds = state.kinds.map(([kind, words]) => box(kind, words, first.kinds.includes(kind)));
    const here = box("push", gettext("Notifications of this browser"), first.push && !problem);
    find(here, "input").toggleAttribute("disabled", Boolean(problem));
    /** @type {HTMLElement[]} */
    const where = [here];
    if (problem) where.push(element("p", problem, "help"));
    if (state.mail) where.push(box("mail", gettext("Email to {address}", { address: state.mail }), first.mail));
    else if (state.signedIn && state.mailOffered) where.push(link(MINE, gettext("Get notified by email")));
    const save = button("primary", gettext("Save"), "submit");
    const buttons = [save, closing(dialog)];
    if (first.isTold) {
      const stop = button("link", gettext("Stop notifications"));
      stop.addEventListener("click", () => this.#save(dialog, state, codes, []));
      buttons.push(stop);
    }
    form.append(group(gettext("What"), kinds), group(gettext("Where"), where), actions(...buttons));
    if (state.signedIn) form.append(link(MINE, gettext("All my notifications")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const chosen = new FormData(form);
      this.#save(dialog, state, codes, chosen.getAll("kind").map(String), {
        push: chosen.get("where-push") === "on", mail: chosen.get("where-mail") === "on",
      });
    });
    find(dialog, ".says").textContent = "";
    dialog.append(form);
  }

  /**
   * @param {HTMLDialogElement} dialog
   * @param {State} state
   * @param {string[]} codes
   * @param {string[]} kinds
   * @param {{push: boolean, mail: boolean}} where
   */
  async #save(dialog, state, codes, kinds, where = { push: false, mail: false }) {
    const line = find(dialog, ".says");
    try {
      if (kinds.length && !where.push && !where.mail) {
        throw new Error(gettext("Choose where you want to be notified, or stop notifications."));
      }
      const wanted = kinds.length > 0 && where.push;
      const push = wanted ? await subscribe(state.key) : await subscription();
      if (wanted && this.#headers["Spectate-Share"]) await storePage(codes);
      await this.#choose(state, {
        push, browser: where.push, mail: where.mail, device: device(navigator.userAgent), runners: codes, kinds,
      });
      dialog.close();
    } catch (error) {
      line.textContent = sentence(error);
    }
  }

  /**
   * @param {State} state
   * @param {Record<string, unknown>} choice
   * @returns {Promise<{push: Alerts, mail: Alerts}>}
   */
  #choose({ csrf }, choice) {
    const headers = { "X-CSRFToken": csrf, "Content-Type": "application/json", ...this.#headers };
    return answer(fetch(CHOOSE, { method: "POST", headers, body: JSON.stringify(choice) }));
  }
}

/**
 * Return the JSON of a response. Throws an error with a sentence.
 * @param {Promise<Response>} request
 */
export async function answer(request) {
  const response = await request.catch(() => null);
  if (response === null) throw new Error(gettext("The server did not answer. Try again."));
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.detail ?? gettext("This was not saved. Reload the page and try again."));
  return body;
}

/** @param {unknown} error */
function sentence(error) {
  return error instanceof Error ? error.message : String(error);
}

// -- elements

/** @param {ParentNode} root @param {string} selector */
function find(root, selector) {
  return /** @type {HTMLElement} */ (root.querySelector(selector));
}

/** @param {string} tag @param {string} text @param {string} [name] */
function element(tag, text, name) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

/** @param {string} icons where the pictures are */
function icon(icons) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("class", "icon");
  made.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `${icons}#bell`);
  made.append(use);
  return made;
}

/** @param {string} name @param {string} text @param {"button" | "submit"} [type] */
function button(name, text, type = "button") {
  const made = /** @type {HTMLButtonElement} */ (element("button", text, name));
  made.type = type;
  return made;
}

/** @param {string} text */
function statusLine(text) {
  const line = element("p", text, "says");
  line.setAttribute("role", "status");
  return line;
}

/** @param {HTMLDialogElement} dialog */
function closing(dialog) {
  const made = button("plain", gettext("Close"));
  made.addEventListener("click", () => dialog.close());
  return made;
}

/** @param {HTMLElement[]} buttons */
function actions(...buttons) {
  const made = element("p", "", "actions");
  made.append(...buttons);
  return made;
}

/** @param {string} name @param {string} words @param {boolean} checked */
function box(name, words, checked) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = "checkbox";
  input.checked = checked;
  const isWhere = name === "push" || name === "mail";
  input.name = isWhere ? `where-${name}` : "kind";
  if (!isWhere) input.value = name;
  label.append(input, ` ${words}`);
  return label;
}

/** @param {string} legend @param {HTMLElement[]} parts */
function group(legend, parts) {
  const made = document.createElement("fieldset");
  made.append(element("legend", legend), ...parts);
  return made;
}

/** @param {string} href @param {string} text */
function link(href, text) {
  const made = element("a", text);
  made.setAttribute("href", href);
  return made;
}
