// Publish positions to a Spectate server and follow runners, over its websocket. For
// browsers and Node.js from 22 on, without dependencies.

const NO_CLOSE_FRAME = 1006;
// Reconnecting with the same credentials would only end the same way.
const FINAL_CODES = new Set([4400, 4401, 4403]);
const OVERLOAD_CODES = new Set([1013, 4413, 4429]);
const OVERLOAD_ATTEMPTS = 4;
const MAX_BACKOFF_MS = 30_000;
// Until the server says how long it is.
const DEFAULT_HEARTBEAT_S = 20;
// The connection is lost after so many heartbeats without a frame.
const SILENT_HEARTBEATS = 2.5;
// The request succeeds later; nothing of it was stored.
const TEMPORARY_ERRORS = new Set(["rate.limited", "store.unavailable", "server.error"]);

const CAPACITY = 100_000; // fixes
// Even with all fields in full precision a frame stays below its limit of 128 KiB.
const BATCH = 200; // fixes
// Fixes without an ack. While the database is slow new ones are still shown at once.
const MAX_IN_FLIGHT = 5000;
// The token is good for nothing any more.
const FINAL_PUBLISH_ERRORS = new Set(["token.required", "runner.unknown"]);

const AUTH_ID = "auth";
const FOLLOW_ID = "follow";
// Of a row after the runner's code. Later versions may append values.
const FIX_FIELDS = ["t", "lat", "lng", "speed", "heading", "progress", "uncertainty"];

/** @typedef {{[key: string]: any, type: string}} Message */
/** @typedef {{t: number, lat: number, lng: number, [key: string]: any}} Fix */
/**
 * @typedef {object} Options
 * @property {(task: () => void, delay: number) => () => void} [schedule] runs a task after
 *   a delay in ms; returns a function that cancels it
 * @property {() => number} [random] a number from 0 to 1
 */

/** @param {any[]} row */
function fixOf(row) {
  return /** @type {Fix} */ (
    Object.fromEntries(FIX_FIELDS.slice(0, row.length).map((name, n) => [name, row[n]]))
  );
}

/** @type {Required<Options>["schedule"]} */
function scheduleTimer(task, delay) {
  const timer = setTimeout(task, delay);
  return () => clearTimeout(timer);
}

/** Connects until `stop()` or until the server refuses it for good. */
class Connection {
  #url;
  #schedule;
  #random;
  /** @type {WebSocket | null} */
  #socket = null;
  #heartbeat = DEFAULT_HEARTBEAT_S;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #silence;
  /** @type {() => void} */
  #cancelReconnect = () => {};
  /** @type {(() => void) | null} Nothing is sent before the `after` of an error. */
  #cancelHold = null;
  // Connections in a row on which no request was answered.
  #attempts = 0;
  // The `after` of the last error, in ms, until a request is answered.
  #after = 0;
  /** @type {number | null} */
  #reconnect = null;
  /** @type {[string, string] | null} */
  #lastError = null;
  #stopped = false;
  /** Whether the server has refused this client for good. */
  ended = false;

  /**
   * The user has to act. There will be no further attempt.
   *
   * @type {(code: string, detail: string) => void}
   */
  onEnded = () => {};
  /**
   * A part was refused for good: the code of a runner, the slug of a race or fixes.
   *
   * @type {(code: string, detail: string, refused: any) => void}
   */
  onRefused = () => {};

  /**
   * @param {string} url
   * @param {Options} options
   */
  constructor(url, { schedule = scheduleTimer, random = Math.random } = {}) {
    this.#url = url;
    this.#schedule = schedule;
    this.#random = random;
  }

  start() {
    const socket = new WebSocket(this.#url, "spectate.v1");
    this.#socket = socket;
    this.#reconnect = this.#lastError = null;
    this.#heartbeat = DEFAULT_HEARTBEAT_S;
    this.#expectFrame();
    socket.onopen = () => {
      this._opened();
      this._send();
    };
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = ({ code }) => this.#closed(socket, code);
    // Node.js reports a failed handshake by this alone.
    socket.onerror = () => {
      if (socket.readyState !== WebSocket.OPEN) this.#closed(socket, NO_CLOSE_FRAME);
    };
  }

  /** Close the connection; do not reconnect. */
  stop() {
    this.#stopped = true;
    const socket = this.#socket;
    this.#forget();
    socket?.close();
  }

  /** The network or the page is back (`online`, `visibilitychange`): do not wait. */
  wake() {
    if (this.#stopped) return;
    if (this.#socket === null) {
      this.#cancelReconnect();
      this.start();
    } else if (this.#socket.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify({ type: "ping" }));
    }
  }

  /** Send what there is. */
  _send() {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN || this.#cancelHold) return;
    for (const message of this._outgoing()) socket.send(JSON.stringify(message));
  }

  /** @param {Message} message */
  #receive(message) {
    if (message.type === "welcome") this.#heartbeat = message.heartbeat;
    else if (message.type === "reconnect") this.#reconnect = message.after;
    else if (message.type === "error") this.#lastError = [message.code, message.detail];
    this.#expectFrame();
    this._received(message);
    this._send();
  }

  #expectFrame() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(
      () => {
        const socket = this.#socket;
        if (socket === null) return;
        this.#closed(socket, NO_CLOSE_FRAME);
        socket.close();
      },
      1000 * this.#heartbeat * SILENT_HEARTBEATS,
    );
  }

  /**
   * @param {WebSocket} socket
   * @param {number} code
   */
  #closed(socket, code) {
    if (socket !== this.#socket) return;
    this.#forget();
    if (FINAL_CODES.has(code)) {
      this._end(...(this.#lastError ?? ["closed", `The server closed with ${code}.`]));
    } else {
      this.#cancelReconnect = this.#schedule(() => this.start(), this.#waitAfter(code));
      this.#attempts += 1;
    }
  }

  /** Drop the socket, whose further events count for nothing, and all timers. */
  #forget() {
    if (this.#socket !== null) this.#socket.onmessage = this.#socket.onopen = null;
    this.#socket = null;
    clearTimeout(this.#silence);
    this.#cancelReconnect();
    this.#cancelHold?.();
    this.#cancelHold = null;
  }

  /** @param {number} code */
  #waitAfter(code) {
    if (this.#reconnect !== null) return this.#reconnect;
    if (OVERLOAD_CODES.has(code)) {
      this.#attempts = Math.max(this.#attempts, OVERLOAD_ATTEMPTS);
    }
    const backoff = Math.min(1000 * 2 ** this.#attempts, MAX_BACKOFF_MS);
    return this.#after + this.#random() * backoff;
  }

  /** A request was answered: the next backoff starts from one second. */
  _answered() {
    this.#attempts = this.#after = 0;
  }

  /**
   * Send again after the time that an error gives.
   *
   * @param {Message} error
   */
  _retryLater({ after = MAX_BACKOFF_MS }) {
    this.#after = after;
    this.#cancelHold?.();
    this.#cancelHold = this.#schedule(() => {
      this.#cancelHold = null;
      this._send();
    }, after);
  }

  /**
   * @param {string} code
   * @param {string} detail
   */
  _end(code, detail) {
    this.ended = true;
    this.stop();
    this.onEnded(code, detail);
  }

  /** Prepare what is to be sent on a new connection. */
  _opened() {}

  /**
   * The messages to send now; a message counts as sent once it is read.
   *
   * @returns {Iterable<Message>}
   */
  _outgoing() {
    return [];
  }

  /** @param {Message} _message unknown ones are ignored */
  _received(_message) {}
}

/** A runner's phone: keeps each fix until the server has stored it. */
export class Publisher extends Connection {
  #token;
  #capacity;
  #isAuthenticating = false;
  #isWelcome = false;
  /** @type {Fix[]} */
  #unsent = [];
  /** @type {Map<number, Fix[]>} */
  #inFlight = new Map();
  #nextId = 1;
  /** @type {(() => void)[]} */
  #flushed = [];
  /** @type {string | null} */
  runner = null;

  /**
   * The token's runner, also when an organiser has reassigned the phone: fixes without an
   * ack belonged to the previous runner and are discarded.
   *
   * @type {(code: string) => void}
   */
  onRunner = () => {};

  /**
   * @param {string} url
   * @param {string} token
   * @param {Options & {capacity?: number}} options
   */
  constructor(url, token, { capacity = CAPACITY, ...options } = {}) {
    super(url, options);
    this.#token = token;
    this.#capacity = capacity;
  }

  /** The fixes without an ack, oldest first: keep them when the program ends. */
  get pending() {
    return [...this.#inFlight.values()].flat().concat(this.#unsent);
  }

  /**
   * Queue a fix. Returns false if the queue is full or the server has refused the token.
   * Throws a `TypeError` for a fix that JSON cannot encode (a BigInt).
   *
   * @param {Fix} fix
   */
  add(fix) {
    if (this.ended || this.#unsent.length + this.#inFlightCount >= this.#capacity) {
      return false;
    }
    // Fail here: in a batch the error would have no caller, and the batch no ack.
    JSON.stringify(fix);
    this.#unsent.push(fix);
    this._send();
    return true;
  }

  /** Resolves once every fix is acked or refused, or the client has ended or was stopped. */
  async flush() {
    if (this.ended || this.#isFlushed) return;
    await new Promise((resolve) => this.#flushed.push(() => resolve(null)));
  }

  get #isFlushed() {
    return this.#unsent.length === 0 && this.#inFlight.size === 0;
  }

  get #inFlightCount() {
    return [...this.#inFlight.values()].reduce((count, batch) => count + batch.length, 0);
  }

  /** Close the connection; do not reconnect. `pending` has the fixes without an ack. */
  stop() {
    super.stop();
    this.#resolveFlushed();
  }

  #resolveFlushed() {
    for (const resolve of this.#flushed.splice(0)) resolve();
  }

  _opened() {
    // The server stores a fix once, whatever number of times it arrives.
    this.#unsent = this.pending;
    this.#inFlight.clear();
    this.#isAuthenticating = this.#isWelcome = false;
  }

  *_outgoing() {
    if (!this.#isAuthenticating) {
      this.#isAuthenticating = true;
      // A browser cannot set a header.
      yield { type: "auth", id: AUTH_ID, token: this.#token };
    }
    while (
      this.#isWelcome && this.#unsent.length > 0 && this.#inFlightCount < MAX_IN_FLIGHT
    ) {
      const fixes = this.#unsent.splice(0, BATCH);
      const id = this.#nextId++;
      this.#inFlight.set(id, fixes);
      yield { type: "publish", id, fixes };
    }
  }

  /** @param {Message} message */
  _received(message) {
    const batch = this.#inFlight.get(message.id);
    if (message.type === "welcome" && message.id === AUTH_ID) {
      this.#welcomed(message.runner);
    } else if (batch && message.type === "ack") {
      this.#inFlight.delete(message.id);
      this._answered();
      for (const [index, code, detail] of message.rejected) {
        this.onRefused(code, detail, [batch[index]]);
      }
    } else if (batch && message.type === "error") {
      this.#inFlight.delete(message.id);
      this.#batchRefused(message, batch);
    }
    if (this.#isFlushed) this.#resolveFlushed();
  }

  /** @param {string} runner */
  #welcomed(runner) {
    if (this.runner !== runner) {
      if (this.runner !== null) this.#unsent = [];
      this.runner = runner;
      this.onRunner(runner);
    }
    if (this.#unsent.length === 0) this._answered();
    this.#isWelcome = true;
  }

  /**
   * @param {Message} error
   * @param {Fix[]} batch
   */
  #batchRefused(error, batch) {
    const isFinal = FINAL_PUBLISH_ERRORS.has(error.code);
    if (!isFinal && !TEMPORARY_ERRORS.has(error.code)) {
      this.onRefused(error.code, error.detail, batch);
      return;
    }
    this.#unsent.unshift(...batch);
    if (isFinal) this._end(error.code, error.detail);
    else this._retryLater(error);
  }
}

/** Follows runners and misses nothing that was stored while it was disconnected. */
export class Spectator extends Connection {
  #follow;
  /** @type {number | null} The `time` of the last frame before which nothing was missing. */
  #since = null;
  #isFollowing = false;
  #isComplete = false;
  /** @type {Map<string, number>} When each marker was where it is. */
  #newest = new Map();
  /** @type {Set<string>} */
  #inSnapshot = new Set();
  /** @type {Map<string, any>} Each runner as in a snapshot, by code. */
  runners = new Map();

  /** @type {(code: string, fix: Fix) => void} The newest position of a runner. */
  onMoved = () => {};
  /**
   * A point of the trail, which is identified by `t` and may come repeatedly.
   *
   * @type {(code: string, fix: Fix) => void}
   */
  onPassed = () => {};
  /** @type {(code: string) => void} This runner may no longer be shown. */
  onLost = () => {};
  /**
   * Fetch /runners/CODE/track.json?since= until that succeeds.
   *
   * @type {(code: string, since: number) => void}
   */
  onGap = () => {};
  /** @type {(event: Message) => void} Each `event`: splits, states, cheers … */
  onEvent = () => {};

  /**
   * @param {string} url
   * @param {{runners?: (string | number)[], races?: string[], public?: boolean,
   *   share?: string, pin?: string, tick?: number}} follow
   * @param {Options} options
   */
  constructor(url, follow, options = {}) {
    super(url, options);
    this.#follow = follow;
  }

  _opened() {
    this.#isFollowing = this.#isComplete = false;
    this.#inSnapshot.clear();
  }

  *_outgoing() {
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    const since = this.#since === null ? {} : { since: this.#since };
    yield { type: "follow", id: FOLLOW_ID, ...this.#follow, ...since };
  }

  /** @param {Message} message */
  _received(message) {
    const { type } = message;
    if (type === "snapshot") this.#readSnapshot(message);
    else if (type === "positions") {
      for (const [code, ...row] of message.fixes) this.#move(code, row);
    } else if (type === "late") {
      for (const row of message.fixes) this.onPassed(message.runner, fixOf(row));
    } else if (type === "event") this.#readEvent(message);
    else if (type === "error" && message.id === FOLLOW_ID) this.#followRefused(message);
    // What was missed follows the snapshot, whose own time is therefore not used.
    if (this.#isComplete && type !== "snapshot" && message.time) this.#since = message.time;
  }

  /** @param {Message} snapshot */
  #readSnapshot(snapshot) {
    for (const runner of snapshot.runners) {
      this.runners.set(runner.code, runner);
      this.#inSnapshot.add(runner.code);
      if (runner.fix) this.#move(runner.code, runner.fix);
    }
    for (const code of snapshot.truncated) this.onGap(code, this.#since ?? 0);
    if (snapshot.more) return;
    this.#isComplete = true;
    this._answered();
    for (const code of this.runners.keys()) {
      if (!this.#inSnapshot.has(code)) this.#lose(code);
    }
  }

  /** @param {Message} event */
  #readEvent(event) {
    const { kind, runner } = event;
    if ((kind === "runner" && event.change === "removed") || (kind === "access" && runner)) {
      this.#lose(runner);
    } else if (kind === "runner") {
      this.runners.set(runner.code, runner);
      this.#inSnapshot.add(runner.code);
    }
    this.onEvent(event);
  }

  /** @param {Message} error */
  #followRefused(error) {
    const { code, detail } = error;
    const { runners, races, public: all, share } = this.#follow;
    if (TEMPORARY_ERRORS.has(code)) {
      this.#isFollowing = false;
      this._retryLater(error);
    } else if (!code.startsWith("share.")) {
      this.onRefused(code, detail, error.runner ?? error.race);
    } else if (runners || races || all) this.onRefused(code, detail, share);
    else this._end(code, detail);
  }

  /**
   * @param {string} code
   * @param {any[]} row
   */
  #move(code, row) {
    const fix = fixOf(row);
    if (fix.t <= (this.#newest.get(code) ?? 0)) return;
    this.#newest.set(code, fix.t);
    this.onMoved(code, fix);
  }

  /** @param {string} code */
  #lose(code) {
    this.runners.delete(code);
    this.#newest.delete(code);
    this.onLost(code);
  }
}
