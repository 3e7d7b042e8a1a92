// Tracks the time since which the page may lack positions, to resume without a gap
// (docs/protocol.md, section 4).

/** Stores the time to resume from, and decides which tracks have to be fetched. */
export class Catchup {
  /** @type {number | null} */
  #since = null;
  #requestedSince = 0; // `since` of the newest follow
  #snapshots = 0; // requested and not complete
  /** @type {number | null} */
  #mergedSince = null;

  /** `time` of the last frame up to which nothing is missing, or null. */
  get since() {
    return this.#since;
  }

  /** Handle a new connection. Requests on the previous one get no reply any more. */
  begin() {
    this.#snapshots = 0;
  }

  /** Return the `since` of a `follow`. Call it before the follow is sent. */
  follow() {
    this.#snapshots += 1;
    this.#requestedSince = this.#since ?? 0;
    return this.#since;
  }

  /**
   * Process a message. Return the runners whose gap the server did not backfill, and its
   * start.
   * @param {Record<string, any>} message
   * @returns {{codes: string[], since: number}}
   */
  saw(message) {
    if (message.type === "welcome") return { codes: [], since: 0 };
    if (message.type === "snapshot") {
      if (!message.more) this.#snapshots = Math.max(0, this.#snapshots - 1);
      // Backfill comes after the snapshot, so only the next frame is complete.
      return { codes: message.truncated ?? [], since: this.#requestedSince };
    }
    // `follow` will request it again and count it again.
    if (message.code === "store.unavailable") {
      this.#snapshots = Math.max(0, this.#snapshots - 1);
      return { codes: [], since: 0 };
    }
    if (message.merged > 0) this.#mergedSince ??= this.#since ?? this.#requestedSince;
    if (this.#snapshots === 0 && message.time) this.#since = message.time;
    return { codes: [], since: 0 };
  }

  /**
   * Handle a response by HTTP, which is complete up to its time.
   * @param {number} time
   */
  polled(time) {
    this.#since = time;
  }

  /** Return the time since which positions were conflated, or null, and reset it. */
  popMerged() {
    const since = this.#mergedSince;
    this.#mergedSince = null;
    return since;
  }
}
