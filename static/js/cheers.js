// Some short cheers for the selected runner, and the cheers of other spectators.

import { setText } from "./dom.js";
import { gettext } from "./language.js";

const PRESETS = [gettext("Allez"), gettext("Keep going"), gettext("Well run"), gettext("Bravo")];
// How long a message is shown.
const STATUS_SHOWN_FOR_MS = 6000;

/**
 * Return the sentence for a cheer that was not sent.
 * @param {string} name of the runner
 * @param {{code: string, after?: number}} error
 */
export function refusal(name, { code, after }) {
  if (code === "cheer.off") return gettext("{name} does not accept cheers.", { name });
  if (code === "rate.limited") {
    return gettext("Again in {count} s.", { count: Math.ceil((after ?? 5000) / 1000) });
  }
  return gettext("That cheer was not sent. Try again.");
}

/** The buttons in the selected runner's row of the list. */
export class CheerRow {
  #send;
  #element = document.createElement("div");
  #statusLine = document.createElement("span");
  /** @type {{code: string, name: string} | null} */
  #runner = null;
  /** @type {Map<string | number, string>} name of the runner, by the message's id */
  #pending = new Map();
  /** @type {Set<string>} codes of those who take none */
  #off = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #silence;

  /**
   * `send` returns whether there is a connection.
   * @param {(message: import("./protocol.js").Message) => boolean} send
   */
  constructor(send) {
    this.#send = send;
    this.#element.className = "cheer-row";
    this.#element.setAttribute("role", "group");
    this.#statusLine.setAttribute("role", "status");
    for (const text of PRESETS) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.addEventListener("click", () => this.#cheer(text));
      this.#element.append(button);
    }
    this.#element.append(this.#statusLine);
  }

  /**
   * Move the buttons to a runner's row, or remove them.
   * @param {{code: string, name: string} | null | undefined} runner
   */
  show(runner) {
    const row =
      runner && !this.#off.has(runner.code)
        ? document.querySelector(`#list [data-runner="${runner.code}"]`)
        : null;
    if (runner?.code !== this.#runner?.code) setText(this.#statusLine, "");
    this.#runner = runner ?? null;
    if (!row) {
      this.#element.remove();
    } else if (this.#element.parentElement !== row) {
      this.#element.setAttribute("aria-label", gettext("Cheer {name}", { name: runner?.name ?? "" }));
      row.append(this.#element);
    }
  }

  /** @param {string} text */
  #cheer(text) {
    if (!this.#runner) return;
    const { code, name } = this.#runner;
    const id = `cheer ${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    this.#pending.set(id, name);
    if (!this.#send({ type: "cheer", id, runner: code, text })) {
      this.#pending.delete(id);
      this.#showStatus(gettext("No connection."));
    }
  }

  /**
   * Process the reply to a cheer.
   * @param {import("./protocol.js").Message} message
   */
  answer(message) {
    const name = this.#pending.get(message.id);
    if (name === undefined) return;
    this.#pending.delete(message.id);
    if (message.type === "ack") {
      this.#showStatus(gettext("Sent."));
    } else {
      if (message.code === "cheer.off") this.#off.add(message.runner);
      this.#showStatus(refusal(name, /** @type {any} */ (message)));
    }
  }

  /**
   * Show a cheer of somebody else if it is for the selected runner.
   * @param {{runner: string, text: string}} event
   */
  showCheer({ runner, text }) {
    if (runner === this.#runner?.code) this.#showStatus(`“${text}”`);
  }

  /** @param {string} text */
  #showStatus(text) {
    setText(this.#statusLine, text);
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => setText(this.#statusLine, ""), STATUS_SHOWN_FOR_MS);
  }
}
