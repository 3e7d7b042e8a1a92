// Tracks since when the page may lack positions, so that it can resume without a gap
// (docs/protocol.md, section 4).

/** Keeps the time to resume from, and decides which tracks have to be fetched. */
export class Catchup {
  /** @type {number | null} */
  #since = null;
  #requestedSince = 0; // the `since` of the newest follow
  #snapshots = 0; // requested and not complete
  /** @type {number | null} */
  #mergedSince = null;

  /** `time` of the last frame up to which nothing is missing, or null. */
  get since() {
    return this.#since;
  }

  /** A new connection: requests on the previous one are not answered any more. */
  begin() {
    this.#snapshots = 0;
  }

  /** Called before a `follow` is sent; returns its `since`. */
  follow() {
    this.#snapshots += 1;
    this.#requestedSince = this.#since ?? 0;
    return this.#since;
  }

  /**
   * Process a message. Returns the runners whose gap the server did not backfill, and
   * since when.
   * @param {Record<string, any>} message
   * @returns {{codes: string[], since: number}}
   */
  saw(message) {
    if (message.type === "welcome") return { codes: [], since: 0 };
    if (message.type === "snapshot") {
      if (!message.more) this.#snapshots = Math.max(0, this.#snapshots - 1);
      // Backfill comes after the snapshot: only the next frame is complete.
      return { codes: message.truncated ?? [], since: this.#requestedSince };
    }
    // It will be requested again: `follow` counts it again.
    if (message.code === "store.unavailable") {
      this.#snapshots = Math.max(0, this.#snapshots - 1);
      return { codes: [], since: 0 };
    }
    if (message.merged > 0) this.#mergedSince ??= this.#since ?? this.#requestedSince;
    if (this.#snapshots === 0 && message.time) this.#since = message.time;
    return { codes: [], since: 0 };
  }

  /**
   * A response by HTTP is complete up to its time.
   * @param {number} time
   */
  polled(time) {
    this.#since = time;
  }

  /** The time since when positions were conflated, returned once; null if none were. */
  popMerged() {
    const since = this.#mergedSince;
    this.#mergedSince = null;
    return since;
  }
}
