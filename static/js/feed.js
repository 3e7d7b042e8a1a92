// Receives data from the server, over a websocket or by polling, and recovers missed
// positions after any failure of the connection (docs/protocol.md).

import { Catchup } from "./catchup.js";
import { Connection } from "./connection.js";
import { followMessage, shareHeaders } from "./protocol.js";
import { TRAIL_SPAN_MS } from "./store.js";

// After this many failed attempts the websocket counts as blocked.
const ATTEMPTS = 2;
// How long the websocket waits for the first snapshot and a quiet network.
const SOCKET_WAIT_MS = 3000;
// How often tracks are fetched for conflated positions that leave a visible gap.
const REFETCH_EVERY_MS = 15_000;
const VISIBLE_GAP_MS = 5000;
// When to retry if the module that fetches tracks could not be loaded.
const TRACKS_RETRY_MS = 5000;
// When to retry after the server's database was unavailable.
const STORE_RETRY_MS = 2000;

/**
 * `codes` are requested in addition, `trailed` have a visible trail.
 * @typedef {import("./connection.js").Status | {state: "polling"}} FeedStatus
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {{
 *   codes: () => string[], trailed: () => string[],
 *   onChange: (isComplete: boolean) => void, onEvent: (event: Message) => void,
 *   onError: (error: Record<string, any>) => void, onStatus: (status: any) => void,
 *   onAnswer: (answer: Message) => void,
 * }} Handlers
 */

/** Keeps the store in the server's state. */
export class Feed {
  #page;
  #store;
  #clock;
  #handlers;
  #catchup = new Catchup();
  #connection;
  #headers;
  /** @type {Promise<import("./polling.js").Polling> | null} */
  #polling = null;
  #isBlocked = false; // no websocket can be opened
  /** @type {Promise<import("./tracks.js").Tracks> | null} */
  #tracks = null;
  #isPolled = false; // the newest response arrived by HTTP
  #hasFailed = false; // and the one before did not
  /** @type {Set<string>} runners whose trail was fetched */
  #filled = new Set();
  /** @type {number | null} `time` of the newest frame: what is shown is from then */
  lastFrame = null;

  /**
   * @param {import("./live/page.js").Page} page
   * @param {import("./store.js").Store} store
   * @param {import("./clock.js").ServerClock} clock
   * @param {Handlers} handlers
   */
  constructor(page, store, clock, handlers) {
    this.#page = page;
    this.#store = store;
    this.#clock = clock;
    this.#handlers = handlers;
    this.#headers = shareHeaders(page.follow);
    this.#connection = new Connection(socketUrl(page.socket), {
      onOpen: () => {
        store.begin();
        this.#catchup.begin();
        this.follow();
      },
      onMessage: (message) => this.#receive(message),
      onStatus: (status) => this.#status(status),
    });
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
    setInterval(() => this.#refetchMerged(), REFETCH_EVERY_MS);
  }

  /** @param {Promise<unknown>} quiet when the network is free for the socket's snapshot */
  async open(quiet) {
    const first = this.#useFirst();
    const late = new Promise((resolve) => setTimeout(resolve, SOCKET_WAIT_MS));
    if (this.#page.first !== null) await Promise.race([Promise.all([first, quiet]), late]);
    // A visitor or a network that has come back may have opened it already.
    this.#connection.comeBack();
  }

  /** Fetch the modules for a bad connection, which the first picture does not need. */
  async prepare() {
    await Promise.all([this.#openPolling(), this.#openTracks()]).catch(() => {});
  }

  #openPolling() {
    this.#polling ??= import("./polling.js").then(
      ({ Polling }) =>
        new Polling({
          url: () => this.#pollUrl(),
          headers: this.#headers,
          onSnapshot: (snapshot) => this.#receivePolled(snapshot),
          onRefused: ({ detail }) => {
            this.#handlers.onStatus({ state: "ended", detail, code: 4403 });
          },
          onFailure: () => {
            this.#isPolled = false;
            this.#hasFailed = true;
            this.#handlers.onStatus({ state: "waiting" });
          },
        }),
    );
    this.#polling.catch(() => (this.#polling = null));
    return this.#polling;
  }

  #openTracks() {
    this.#tracks ??= import("./tracks.js").then(
      ({ Tracks }) =>
        new Tracks({
          url: this.#page.track,
          headers: this.#headers,
          onPoints: (of, points) => {
            this.#store.applyTrack(of, points);
            this.#handlers.onChange(false);
          },
        }),
    );
    this.#tracks.catch(() => (this.#tracks = null));
    return this.#tracks;
  }

  /** @param {string} code @param {number} since */
  async #wantTrack(code, since) {
    const tracks = await this.#openTracks().catch(() => null);
    if (tracks) tracks.want(code, since);
    else setTimeout(() => this.#wantTrack(code, since), TRACKS_RETRY_MS);
  }

  /** @param {boolean} isBlocked */
  async #setBlocked(isBlocked) {
    this.#isBlocked = isBlocked;
    if (!isBlocked && this.#polling === null) return;
    // Retry with the next attempt on the websocket.
    const polling = await this.#openPolling().catch(() => null);
    if (this.#isBlocked) polling?.start();
    else polling?.stop();
  }

  async #hurry() {
    (await this.#polling?.catch(() => null))?.hurry();
  }

  // Process the first snapshot, which was requested before the scripts were loaded.
  async #useFirst() {
    const { first } = this.#page;
    if (first === null) return;
    try {
      const response = await fetch(first);
      if (!response.ok) return;
      const snapshot = await response.json();
      // Messages that the websocket has received since then are newer.
      if (this.lastFrame !== null) return;
      // A picture that was kept for a reload without a connection (offline/picture.js).
      const kept = response.headers.get("Spectate-Kept");
      this.#clock.saw(snapshot.time + (kept ? Date.now() - Number(kept) : 0));
      this.lastFrame = snapshot.time;
      if (kept) this.#handlers.onStatus({ state: "waiting" });
      // The websocket's own snapshot removes runners, even if it has been requested.
      this.#store.applySnapshot({ ...snapshot, more: true });
      this.#store.begin();
      this.#catchup.polled(snapshot.time);
      this.#handlers.onChange(true);
    } catch {
      // The websocket or polling will fetch a snapshot.
    }
  }

  /**
   * Send any message with an `id`, which the reply repeats.
   * @param {Message} message
   */
  send(message) {
    return this.#connection.send(message);
  }

  /** Request what this page shows. */
  follow() {
    const since = this.#catchup.follow();
    const message = followMessage(this.#page.follow, this.#handlers.codes(), since);
    if (!this.#connection.send(message)) this.#hurry();
  }

  /**
   * Request a race again.
   * @param {string} slug
   */
  renew(slug) {
    this.#connection.send({ type: "unfollow", races: [slug] });
    this.follow();
  }

  /**
   * Make sure that runners have complete trails, and not only since they were selected.
   * @param {import("./store.js").Runner[]} runners
   */
  fillTrails(runners) {
    const filled = this.#filled;
    this.#filled = new Set();
    for (const { code, fix } of runners) {
      if (fix === null) continue;
      this.#filled.add(code);
      if (!filled.has(code)) this.#wantTrack(code, fix.t - TRAIL_SPAN_MS);
    }
  }

  /** @param {import("./connection.js").Status} status */
  #status(status) {
    if (status.state === "open" || status.state === "ended") {
      this.#setBlocked(false);
      this.#isPolled = false;
    } else if (status.state !== "offline" && this.#connection.attempts >= ATTEMPTS) {
      this.#setBlocked(true);
    }
    this.#handlers.onStatus(this.#isPolled ? { state: "polling" } : status);
  }

  /** @param {Message} message */
  #receive(message) {
    if (message.time) {
      this.#clock.saw(message.time);
      if (message.type !== "welcome") this.lastFrame = message.time;
    }
    if (message.id !== undefined) return this.#handlers.onAnswer(message);
    const gap = this.#catchup.saw(message);
    for (const code of gap.codes) this.#wantTrack(code, gap.since);
    switch (message.type) {
      case "snapshot":
        this.#store.applySnapshot(message);
        break;
      case "positions":
        this.#store.applyPositions(message.fixes);
        break;
      case "late":
        this.#store.applyLate(message.runner, message.fixes);
        break;
      case "event":
        this.#handlers.onEvent(message);
        break;
      case "error":
        if (message.code === "store.unavailable") {
          setTimeout(() => this.follow(), message.after ?? STORE_RETRY_MS);
        }
        this.#handlers.onError(message);
        break;
    }
    this.#handlers.onChange(message.type === "snapshot" && !message.more);
  }

  #pollUrl() {
    const { runners = [], races = [], public: everybody } = this.#page.follow;
    const query = new URLSearchParams();
    if (everybody) query.set("public", "1");
    for (const slug of races) query.append("race", slug);
    const codes = [...new Set([...runners, ...this.#handlers.codes()])];
    if (codes.length) query.set("runners", codes.join());
    if (this.#catchup.since) query.set("since", String(this.#catchup.since));
    return `${this.#page.poll}?${query}`;
  }

  /** @param {Record<string, any>} snapshot */
  #receivePolled(snapshot) {
    const since = this.#catchup.since ?? 0;
    this.#clock.saw(snapshot.time);
    this.lastFrame = snapshot.time;
    this.#store.begin();
    this.#store.applySnapshot(snapshot);
    for (const { runner, fixes } of snapshot.late) this.#store.applyLate(runner, fixes);
    for (const code of snapshot.truncated) this.#wantTrack(code, since);
    for (const refused of snapshot.refused) this.#handlers.onError(refused);
    this.#catchup.polled(snapshot.time);
    this.#isPolled = true;
    // The server was unavailable, so the websocket was not blocked.
    if (this.#hasFailed) this.#connection.comeBack();
    this.#hasFailed = false;
    this.#handlers.onStatus({ state: "polling" });
    this.#handlers.onChange(true);
  }

  // Positions were conflated, so fetch the track of runners whose trail has a gap.
  #refetchMerged() {
    const since = this.#catchup.popMerged();
    if (since === null) return;
    for (const code of this.#handlers.trailed()) {
      const trail = this.#store.runners.get(code)?.trail ?? [];
      const has = trail.some(([t], n) => n > 0 && t > since && t - trail[n - 1][0] > VISIBLE_GAP_MS);
      if (has) this.#wantTrack(code, since);
    }
  }
}

/** @param {string} path */
function socketUrl(path) {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${path}`;
}
