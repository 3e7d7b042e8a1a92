// Keeps the screen on: with the screen off, browsers find no position.

/** Holds the screen on while it is wanted and the page is visible. */
export class WakeLock {
  /** @type {WakeLockSentinel | null} */
  #lock = null;
  #wanted = false;
  #onChange;

  /** @param {(held: boolean) => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    // The browser releases it whenever the page is hidden.
    document.addEventListener("visibilitychange", () => this.#settle());
  }

  /** @param {boolean} wanted */
  want(wanted) {
    this.#wanted = wanted;
    this.#settle();
  }

  async #settle() {
    if (!this.#wanted) {
      await this.#lock?.release();
      return;
    }
    if (this.#lock || document.visibilityState !== "visible") return;
    try {
      const lock = await navigator.wakeLock.request("screen");
      this.#lock = lock;
      lock.addEventListener("release", () => {
        this.#lock = null;
        this.#onChange(false);
      });
      this.#onChange(true);
      if (!this.#wanted) await lock.release();
    } catch {
      // Not supported by this browser, or the battery is low: the page shows it.
      this.#onChange(false);
    }
  }
}
