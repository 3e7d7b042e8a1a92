// Spectate in JavaScript, for browsers and Node.js from 22 on: publish positions, follow
// runners. No package is needed.
//
//   import { Publisher, Spectator } from "./client.js";
//
//   const spectator = new Spectator("ws://localhost:8080/ws/", { races: ["demo"] });
//   spectator.onMoved = (code, fix) => console.log(code, fix);
//   spectator.start();
//
//   const publisher = new Publisher("ws://localhost:8080/ws/", TOKEN);
//   publisher.start();
//   publisher.add({ t: Date.now(), lat: 53.3566, lng: -6.3285 });
//
// The rules are those of docs/protocol.md, sections 4 to 7.

// Close codes after which to come back would only end the same way, and those of a
// server that has too much to do.
const FINAL = new Set([4400, 4401, 4403]);
const BUSY = new Set([1013, 4413, 4429]);
const BUSY_ATTEMPTS = 4;
const LONGEST_WAIT = 30_000; // ms
// A server that says nothing for so many heartbeats is gone.
const SILENT_HEARTBEATS = 2.5;
const BATCH = 500; // fixes
const PASSING_ERRORS = new Set(["rate.limited", "store.unavailable"]);

/**
 * How long to stay away after a close, in ms; null: for good.
 *
 * @param {number} code
 * @param {number} attempts how many in a row came to nothing
 * @param {number | null} reconnect what the server said, in ms
 */
export function waitAfter(code, attempts, reconnect = null, random = Math.random) {
  if (FINAL.has(code)) return null;
  if (reconnect !== null) return reconnect;
  if (BUSY.has(code)) attempts = Math.max(attempts, BUSY_ATTEMPTS);
  return random() * Math.min(1000 * 2 ** attempts, LONGEST_WAIT);
}

/** @typedef {{[key: string]: any, type: string}} Message */
/** @typedef {{t: number, lat: number, lng: number, [key: string]: any}} Fix */

/** A socket that comes back by itself. */
class Client {
  /** @type {WebSocket | null} */
  socket = null;
  attempts = 0;
  #heartbeat = 20; // s
  /** @type {number | null} */
  #reconnect = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #problem = "";
  #stopped = false;

  /** @param {string} url */
  constructor(url) {
    this.url = url;
  }

  /** @type {(problem: string) => void} The server does not want this client as it is. */
  onEnded = () => {};

  start() {
    const socket = new WebSocket(this.url, "spectate.v1");
    this.socket = socket;
    this.#reconnect = null;
    this.#expectFrame();
    socket.onopen = () => this.opened();
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "welcome") this.#heartbeat = message.heartbeat;
      if (message.type === "reconnect") this.#reconnect = message.after;
      if (message.type === "error") this.#problem = `${message.code}: ${message.detail}`;
      this.#expectFrame();
      this.heard(message);
    };
    socket.onclose = ({ code }) => this.#closed(socket, code);
    // Node.js tells of a server that is not there by this alone.
    socket.onerror = () => {
      if (socket.readyState !== WebSocket.OPEN) this.#closed(socket, 1006);
    };
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.socket?.close();
  }

  /** The network or the page came back (`online`, `visibilitychange`): do not wait. */
  wake() {
    if (this.#stopped) return;
    if (this.socket !== null) return this.say({ type: "ping" });
    clearTimeout(this.#timer);
    this.start();
  }

  /** @param {Message} message */
  say(message) {
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify(message));
    }
  }

  #expectFrame() {
    clearTimeout(this.#timer);
    const silence = 1000 * this.#heartbeat * SILENT_HEARTBEATS;
    this.#timer = setTimeout(() => this.#lose(), silence);
  }

  /** Whatever TCP says: a lost connection may take minutes to close. */
  #lose() {
    const socket = this.socket;
    if (socket === null) return;
    this.#closed(socket, 1006);
    socket.close();
  }

  /**
   * @param {WebSocket} socket
   * @param {number} code
   */
  #closed(socket, code) {
    if (socket !== this.socket || this.#stopped) return;
    socket.onmessage = null;
    clearTimeout(this.#timer);
    this.socket = null;
    const wait = waitAfter(code, this.attempts, this.#reconnect);
    this.attempts += 1;
    if (wait === null) {
      this.#stopped = true;
      this.onEnded(this.#problem || `closed with ${code}`);
    } else this.#timer = setTimeout(() => this.start(), wait);
  }

  /** Say what there is to say on a new connection. */
  opened() {}

  /** @param {Message} _message unknown ones are passed over */
  heard(_message) {}
}

/** A runner's phone: keeps each fix until it is acked. */
export class Publisher extends Client {
  #token;
  /** @type {string | null} */
  #runner = null;
  #welcome = false;
  /** @type {Fix[]} */
  #unsent = [];
  /** @type {Map<number, Fix[]>} */
  #sent = new Map();
  #nextId = 1;

  /**
   * @param {string} url
   * @param {string} token
   */
  constructor(url, token) {
    super(url);
    this.#token = token;
  }

  /** Fixes that no ack has covered yet; keep them in a database if they matter. */
  get waiting() {
    return [...this.#sent.values()].reduce((n, b) => n + b.length, this.#unsent.length);
  }

  /** @param {Fix} fix */
  add(fix) {
    this.#unsent.push(fix);
    this.#publish();
  }

  /** Send what was not sent; acks may be outstanding meanwhile. */
  #publish() {
    while (this.#welcome && this.socket !== null && this.#unsent.length > 0) {
      const fixes = this.#unsent.splice(0, BATCH);
      const id = this.#nextId++;
      this.#sent.set(id, fixes);
      this.say({ type: "publish", id, fixes });
    }
  }

  opened() {
    // What was on its way may be lost. A fix is known by its time: stored once.
    this.#unsent.unshift(...[...this.#sent.values()].flat());
    this.#sent.clear();
    this.#welcome = false;
    // A browser cannot set a header.
    this.say({ type: "auth", id: "auth", token: this.#token });
  }

  /** @param {Message} message */
  heard(message) {
    if (message.type === "welcome" && message.id === "auth") {
      // A phone that was given to another runner: these fixes are not theirs.
      if (this.#runner !== null && this.#runner !== message.runner) this.#unsent = [];
      this.#runner = message.runner;
      this.#welcome = true;
      this.#publish();
    }
    const batch = this.#sent.get(message.id) ?? [];
    this.#sent.delete(message.id);
    if (message.type === "ack") {
      // Whatever is in `rejected` would be refused again.
      this.attempts = 0;
    } else if (message.type === "error" && PASSING_ERRORS.has(message.code)) {
      this.#unsent.unshift(...batch);
      setTimeout(() => this.#publish(), message.after);
    }
  }
}

/** Follows; misses nothing that was stored while it was away. */
export class Spectator extends Client {
  #follow;
  /** @type {number | null} The `time` of the last frame after which nothing was missing. */
  #since = null;
  #complete = false;
  /** @type {Map<string, number>} When each marker was where it is. */
  #newest = new Map();

  /** @type {(code: string, fix: Fix) => void} The newest position. */
  onMoved = () => {};
  /** @type {(code: string, fix: Fix) => void} A point of the trail, perhaps a known one. */
  onPassed = () => {};
  /** @type {(code: string) => void} They are no longer to be shown. */
  onLost = () => {};
  /**
   * A gap that the server does not close over the socket: fetch
   * /runners/CODE/track.json?since= until it succeeds.
   *
   * @type {(code: string, since: number) => void}
   */
  onGap = () => {};

  /**
   * @param {string} url
   * @param {{runners?: string[], races?: string[], public?: boolean, share?: string,
   *   pin?: string, tick?: number}} follow
   */
  constructor(url, follow) {
    super(url);
    this.#follow = follow;
  }

  opened() {
    this.#complete = false;
    const since = this.#since === null ? {} : { since: this.#since };
    this.say({ type: "follow", id: 1, ...this.#follow, ...since });
  }

  /** @param {Message} message */
  heard(message) {
    const { type, kind } = message;
    if (type === "snapshot") {
      for (const { code, fix } of message.runners) if (fix) this.#move(code, fix);
      for (const code of message.truncated) this.onGap(code, this.#since ?? 0);
      if (!message.more) {
        this.#complete = true;
        this.attempts = 0;
      }
    } else if (type === "positions") {
      for (const [code, ...fix] of message.fixes) this.#move(code, fix);
    } else if (type === "late") {
      for (const [t, lat, lng] of message.fixes) {
        this.onPassed(message.runner, { t, lat, lng });
      }
    } else if (type === "event" && kind === "runner" && message.change === "removed") {
      this.onLost(message.runner);
    } else if (type === "event" && kind === "access" && message.runner) {
      this.onLost(message.runner);
    } else if (type === "error" && message.code === "store.unavailable") {
      // Nothing is followed yet.
      setTimeout(() => this.opened(), message.after);
    }
    // Not the snapshot's own time: what was missed comes right behind it.
    if (this.#complete && type !== "snapshot" && message.time) this.#since = message.time;
  }

  /**
   * @param {string} code
   * @param {number[]} row
   */
  #move(code, [t, lat, lng]) {
    if (t <= (this.#newest.get(code) ?? 0)) return;
    this.#newest.set(code, t);
    this.onMoved(code, { t, lat, lng });
  }
}
