// Sends the backlog to the server, and passes the server's messages to the page.

import { Connection } from "../connection.js";

// When to retry if the server names no delay.
const RETRY_MS = 2000;
// Errors that are final. After other errors the fixes are sent again.
const FINAL_ERRORS = new Set(["runner.unknown", "publish.invalid", "message.invalid"]);

/**
 * `onWelcome` is called before anything is sent, and `onDone` with fixes that have a
 * final reply and the refused ones of these. `first` is sent before them.
 * @typedef {import("./backlog.js").Fix} Fix
 * @typedef {{
 *   onStatus: (status: import("../connection.js").Status) => void,
 *   onWelcome: (welcome: {runner: string, time: number}) => Promise<void>,
 *   onTime: (time: number) => void,
 *   onDone: (fixes: Fix[], refused: [index: number, code: string, detail: string][]) => void,
 *   onTrouble: (code: string, detail: string) => void,
 *   onCheer: (text: string) => void,
 *   first: () => import("../protocol.js").Message | null,
 *   onAnswer: (answer: import("../protocol.js").Message) => void,
 * }} Handlers
 */

/** One runner's connection to the server. Reconnects automatically. */
export class Sender {
  #token;
  #backlog;
  #handlers;
  #connection;
  #welcomed = false;
  #losses = 0;
  // Until then nothing is sent, or only the newest fix. In ms, by `performance.now()`.
  #nothingBefore = 0;
  #newestOnlyBefore = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #again;

  /**
   * @param {string} token
   * @param {import("./backlog.js").Backlog} backlog
   * @param {Handlers} handlers
   */
  constructor(token, backlog, handlers) {
    this.#token = token;
    this.#backlog = backlog;
    this.#handlers = handlers;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.#connection = new Connection(`${scheme}//${location.host}/ws/`, {
      onOpen: () => this.#signIn(),
      onMessage: (message) => this.#receive(message),
      onStatus: (status) => {
        if (status.state !== "open") this.#lose();
        handlers.onStatus(status);
      },
      isAnswer: ({ type, runner }) => type === "welcome" && runner !== null,
    });
    this.#connection.open();
  }

  /**
   * Send a message other than fixes, if there is a connection.
   * @param {import("../protocol.js").Message} message
   */
  sendMessage(message) {
    if (this.#welcomed) this.#connection.send(message);
  }

  /** Send the pending fixes. */
  send() {
    clearTimeout(this.#again);
    const now = performance.now();
    if (!this.#welcomed || now < this.#nothingBefore) {
      if (this.#welcomed) this.#sendAgainAt(this.#nothingBefore);
      return;
    }
    const newestOnly = now < this.#newestOnlyBefore;
    for (;;) {
      const batch = this.#backlog.next({ newestOnly });
      if (!batch) break;
      this.#connection.send({ type: "publish", ...batch });
    }
    if (newestOnly) this.#sendAgainAt(this.#newestOnlyBefore);
  }

  /** @param {number} time */
  #sendAgainAt(time) {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.send(), Math.max(0, time - performance.now()) + 10);
  }

  // The token is not in the socket's address, which would be in the server's log.
  #signIn() {
    this.#connection.send({ type: "auth", token: this.#token, id: "auth" });
  }

  #lose() {
    this.#losses += 1;
    this.#welcomed = false;
    this.#nothingBefore = this.#newestOnlyBefore = 0;
    clearTimeout(this.#again);
    this.#backlog.putAllBack();
  }

  /** @param {import("../protocol.js").Message} message */
  async #receive(message) {
    if (message.time) this.#handlers.onTime(message.time);
    switch (message.type) {
      case "welcome":
        if (message.runner === null) return;
        await this.#welcome(message.runner, message.time);
        break;
      case "ack":
        if (typeof message.id === "string") return this.#handlers.onAnswer(message);
        this.#handlers.onDone(this.#backlog.done(message.id), message.rejected ?? []);
        this.send();
        break;
      case "error":
        this.#fail(message);
        break;
      case "event":
        if (message.kind === "cheer") this.#handlers.onCheer(message.text);
        break;
    }
  }

  /** @param {string} runner @param {number} time */
  async #welcome(runner, time) {
    const losses = this.#losses;
    await this.#handlers.onWelcome({ runner, time });
    if (losses !== this.#losses) return;
    this.#welcomed = true;
    const first = this.#handlers.first();
    if (first) this.sendMessage(first);
    this.send();
  }

  /** @param {import("../protocol.js").Message} error */
  #fail({ id, code, detail, after = RETRY_MS }) {
    if (id === "auth") {
      // Otherwise the close that follows contains the reason.
      if (code === "store.unavailable") setTimeout(() => this.#signIn(), after);
      return;
    }
    if (typeof id !== "number") return;
    if (FINAL_ERRORS.has(code)) {
      const fixes = this.#backlog.done(id);
      this.#handlers.onDone(fixes, fixes.map((_, index) => [index, code, detail]));
    } else {
      const until = performance.now() + after;
      const many = this.#backlog.putBack(id).length > 1;
      // A rate-limited backlog must not delay the newest fix.
      if (code === "rate.limited" && many) this.#newestOnlyBefore = until;
      else this.#nothingBefore = until;
      this.#sendAgainAt(until);
    }
    this.#handlers.onTrouble(code, detail);
  }
}
