// A websocket that reconnects automatically.

import {
  BACK_OFF_CLOSE_CODES,
  FINAL_CLOSE_CODES,
  parseFrame,
  SUBPROTOCOL,
} from "./protocol.js";

const LEAST_WAIT_MS = 1000;
const MOST_WAIT_MS = 30_000;
// After "overloaded", the first delay may already be this long: 2 ** 4 s.
const BUSY_ATTEMPTS = 4;
// How long the handshake may take. Some proxies drop it silently.
const HANDSHAKE_WAIT_MS = 10_000;
// A server that is silent for this many heartbeats is disconnected.
const SILENT_HEARTBEATS = 2.5;
// A visible page sends a ping after this silence, because it claims to be live.
const PROBE_AFTER_MS = 5000;
// How long a socket may take to respond to a ping.
const PROBE_WAIT_MS = 5000;

/**
 * Return the delay before the next attempt in ms: full jitter, 1 to 30 s.
 * @param {number} attempts
 */
export function backoff(attempts, random = Math.random) {
  const most = Math.min(MOST_WAIT_MS, LEAST_WAIT_MS * 2 ** Math.min(attempts, 10));
  return LEAST_WAIT_MS + random() * (most - LEAST_WAIT_MS);
}

/**
 * `ended`: the connection will not reconnect. `detail` and the close `code` are the
 * reason.
 * @typedef {"connecting" | "open" | "waiting" | "offline" | "ended"} State
 * @typedef {{state: State, detail?: string, code?: number}} Status
 * @typedef {{
 *   onOpen: () => void,
 *   onMessage: (message: import("./protocol.js").Message) => void,
 *   onStatus: (status: Status) => void,
 *   isAnswer?: (message: import("./protocol.js").Message) => boolean,
 * }} Handlers `isAnswer`: to what `onOpen` sent; a snapshot where it is not there
 */

/** Keeps one websocket open. */
export class Connection {
  #url;
  #handlers;
  #isAnswer;
  /** @type {WebSocket | null} */
  #socket = null;
  #attempts = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #silence;
  #heartbeat = 20_000; // ms, until the `welcome` message sets it
  /** @type {number | null} */
  #wished = null; // ms requested by the server
  #ended = false;

  /**
   * @param {string} url
   * @param {Handlers} handlers
   */
  constructor(url, handlers) {
    this.#url = url;
    this.#handlers = handlers;
    this.#isAnswer = handlers.isAnswer ?? (({ type }) => type === "snapshot");
    addEventListener("online", () => this.comeBack());
    addEventListener("offline", () => this.#lose("offline"));
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.comeBack();
    });
    // A page in the back-forward cache has lost its socket.
    addEventListener("pageshow", (event) => event.persisted && this.comeBack());
  }

  /** Return the number of consecutive failed attempts. */
  get attempts() {
    return this.#attempts;
  }

  /** Connect now. */
  open() {
    clearTimeout(this.#retry);
    this.#handlers.onStatus({ state: "connecting" });
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    this.#expectFrame(HANDSHAKE_WAIT_MS);
    socket.onopen = () => this.#handlers.onOpen();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => this.#closed(code);
  }

  /**
   * Send a message and return whether a socket was open.
   * @param {import("./protocol.js").Message} message
   */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** @param {unknown} data */
  #receive(data) {
    const message = parseFrame(data);
    this.#awaitNext();
    if (message === null) return;
    if (message.type === "welcome") {
      this.#heartbeat = (message.heartbeat || 20) * 1000;
    } else if (message.type === "reconnect") {
      this.#wished = message.after;
    }
    if (this.#isAnswer(message)) {
      // Reset only here, so that a server that accepts and then fails is not tried at 1
      // Hz.
      this.#attempts = 0;
      this.#handlers.onStatus({ state: "open" });
    }
    this.#handlers.onMessage(message);
  }

  #awaitNext() {
    if (document.visibilityState !== "visible") {
      this.#expectFrame(this.#heartbeat * SILENT_HEARTBEATS);
      return;
    }
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#probe(), PROBE_AFTER_MS);
  }

  #probe() {
    this.send({ type: "ping" });
    this.#expectFrame(PROBE_WAIT_MS);
  }

  /** @param {number} wait ms */
  #expectFrame(wait) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lose("waiting"), wait);
  }

  /** @param {number} code */
  #closed(code) {
    this.#forget();
    if (FINAL_CLOSE_CODES.has(code)) {
      this.#ended = true;
      const detail = FINAL_CLOSE_CODES.get(code);
      this.#handlers.onStatus({ state: "ended", detail, code });
      return;
    }
    if (BACK_OFF_CLOSE_CODES.has(code)) {
      this.#attempts = Math.max(this.#attempts, BUSY_ATTEMPTS);
    }
    this.#wait(navigator.onLine === false ? "offline" : "waiting");
  }

  /**
   * Discard a socket that may look open, without waiting for its close.
   * @param {State} state
   */
  #lose(state) {
    if (this.#ended) return;
    const socket = this.#socket;
    this.#forget();
    socket?.close();
    this.#wait(state);
  }

  #forget() {
    clearTimeout(this.#silence);
    if (this.#socket === null) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket = null;
  }

  /** @param {State} state */
  #wait(state) {
    clearTimeout(this.#retry);
    this.#attempts += 1;
    const wait = this.#wished ?? backoff(this.#attempts);
    this.#wished = null;
    this.#handlers.onStatus({ state });
    this.#retry = setTimeout(() => this.open(), wait);
  }

  /**
   * Connect without the delay, because the network, the server or the visitor is back.
   */
  comeBack() {
    if (this.#ended) return;
    if (this.#socket === null) {
      this.open();
    } else if (this.#socket.readyState === WebSocket.OPEN) {
      this.#probe();
    }
  }
}
