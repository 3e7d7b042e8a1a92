// The fixes that the server has not acked, and which of them to send next.

/** The most fixes of one message. */
export const BATCH = 500;
// The most fixes that wait for their ack: acks are late while the server's database is
// unavailable, but the live flow must go on.
const UNACKED_FIX_LIMIT = 4000;

/**
 * A fix as it is published and stored. Times in ms, metres, m/s, degrees, per cent.
 * @typedef {{
 *   t: number, lat: number, lng: number, accuracy?: number, altitude?: number,
 *   speed?: number, heading?: number, battery?: number,
 * }} Fix
 * @typedef {{id: number, fixes: Fix[]}} Batch
 */

/** Fixes by time; each stays until it is acked. */
export class Backlog {
  /** @type {Map<number, Fix>} oldest first, but for what is added late */
  #waiting = new Map();
  /** @type {Map<number, Fix[]>} by the id of their message */
  #inFlight = new Map();
  /** @type {Set<number>} times of these */
  #flying = new Set();
  #newest = -Infinity;
  #nextId = 1;

  /** @param {Fix} fix */
  add(fix) {
    this.#waiting.set(fix.t, fix);
    this.#newest = Math.max(this.#newest, fix.t);
  }

  /**
   * Discard some, acked or not.
   * @param {number[]} times
   */
  remove(times) {
    for (const t of times) this.#waiting.delete(t);
  }

  /** The number of fixes that are not acked. */
  get size() {
    return this.#waiting.size;
  }

  /**
   * The next batch, or null: the newest alone, so that the marker moves immediately,
   * then the rest, oldest first.
   * @param {{newestOnly?: boolean}} [options]
   * @returns {Batch | null}
   */
  next({ newestOnly = false } = {}) {
    const newest = this.#waiting.get(this.#newest);
    if (newest && !this.#flying.has(newest.t)) return this.#markFlying([newest]);
    if (newestOnly || this.#flying.size >= UNACKED_FIX_LIMIT) return null;
    const fixes = [];
    for (const fix of this.#waiting.values()) {
      if (!this.#flying.has(fix.t)) fixes.push(fix);
      if (fixes.length === BATCH) break;
    }
    return fixes.length ? this.#markFlying(fixes) : null;
  }

  /** @param {Fix[]} fixes */
  #markFlying(fixes) {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#inFlight.set(id, fixes);
    for (const { t } of fixes) this.#flying.add(t);
    return { id, fixes };
  }

  /**
   * The server has answered finally: none of these is sent again.
   * @param {number} id
   * @returns {Fix[]}
   */
  done(id) {
    const fixes = this.putBack(id);
    this.remove(fixes.map(({ t }) => t));
    return fixes;
  }

  /**
   * Nothing of this message was stored: it is sent again.
   * @param {number} id
   * @returns {Fix[]}
   */
  putBack(id) {
    const fixes = this.#inFlight.get(id) ?? [];
    this.#inFlight.delete(id);
    for (const { t } of fixes) this.#flying.delete(t);
    return fixes;
  }

  /** The connection is lost: everything that was not acked is sent again. */
  putAllBack() {
    this.#inFlight.clear();
    this.#flying.clear();
  }
}
