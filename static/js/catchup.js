// What was seen without a gap, so that a page which comes back misses nothing
// (docs/protocol.md, section 4).

/** Keeps the time from which to go on, and says which tracks have to be fetched. */
export class Catchup {
  /** @type {number | null} */
  #since = null;
  #asked = 0; // the `since` of the newest follow
  #snapshots = 0; // asked for and not complete
  /** @type {number | null} */
  #mergedSince = null;

  /** `time` of the last frame after which nothing was missing, or null. */
  get since() {
    return this.#since;
  }

  /** A new connection: what was asked on the last one is not answered any more. */
  begin() {
    this.#snapshots = 0;
  }

  /** A `follow` is about to be sent; returns its `since`. */
  follow() {
    this.#snapshots += 1;
    this.#asked = this.#since ?? 0;
    return this.#since;
  }

  /**
   * Take a message. Returns the runners whose gap the server did not close, since when.
   *
   * @param {Record<string, any>} message
   * @returns {{codes: string[], since: number}}
   */
  saw(message) {
    if (message.type === "welcome") return { codes: [], since: 0 };
    if (message.type === "snapshot") {
      if (!message.more) this.#snapshots = Math.max(0, this.#snapshots - 1);
      // What was missed comes behind it: only the next frame is one without a gap.
      return { codes: message.truncated ?? [], since: this.#asked };
    }
    // It will be asked again: `follow` counts it anew.
    if (message.code === "store.unavailable") {
      this.#snapshots = Math.max(0, this.#snapshots - 1);
      return { codes: [], since: 0 };
    }
    if (message.merged > 0) this.#mergedSince ??= this.#since ?? this.#asked;
    if (this.#snapshots === 0 && message.time) this.#since = message.time;
    return { codes: [], since: 0 };
  }

  /**
   * An answer by HTTP has all up to its time.
   *
   * @param {number} time
   */
  polled(time) {
    this.#since = time;
  }

  /** Since when positions were merged away, asked once; null if none were. */
  takeMerged() {
    const since = this.#mergedSince;
    this.#mergedSince = null;
    return since;
  }
}
