// The fixes that the server has not acked, and the order of sending them.

/** Limit of the fixes in one message. */
export const BATCH = 500;
// Limit of the fixes without an ack. Acks are late while the server's database is
// unavailable, but live positions must still be sent.
const UNACKED_FIX_LIMIT = 4000;

/**
 * A fix as published and stored, in ms, metres, m/s, degrees and per cent.
 * @typedef {{
 *   t: number, lat: number, lng: number, accuracy?: number, altitude?: number,
 *   speed?: number, heading?: number, battery?: number,
 * }} Fix
 * @typedef {{id: number, fixes: Fix[]}} Batch
 */

/** Fixes by time. Each stays until it is acked. */
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
   * Discard fixes, acked or not.
   * @param {number[]} times
   */
  remove(times) {
    for (const t of times) this.#waiting.delete(t);
  }

  /** Return the number of fixes without an ack. */
  get size() {
    return this.#waiting.size;
  }

  /**
   * Return the next batch, or null. The newest fix comes first and alone, so that the
   * marker moves immediately. The others follow, oldest first.
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
   * Discard the fixes of a message that the server has answered finally.
   * @param {number} id
   * @returns {Fix[]}
   */
  done(id) {
    const fixes = this.putBack(id);
    this.remove(fixes.map(({ t }) => t));
    return fixes;
  }

  /**
   * Queue the fixes of a message again, of which nothing was stored.
   * @param {number} id
   * @returns {Fix[]}
   */
  putBack(id) {
    const fixes = this.#inFlight.get(id) ?? [];
    this.#inFlight.delete(id);
    for (const { t } of fixes) this.#flying.delete(t);
    return fixes;
  }

  /** Queue all fixes without an ack again, because the connection is lost. */
  putAllBack() {
    this.#inFlight.clear();
    this.#flying.clear();
  }
}
