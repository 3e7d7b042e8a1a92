// Keeps the screen on, because browsers find no position with the screen off.

/** Keeps the screen on while this is wanted and the page is visible. */
export class WakeLock {
  /** @type {WakeLockSentinel | null} */
  #lock = null;
  #wanted = false;
  #onChange;

  /** @param {(held: boolean) => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    // The browser releases the lock whenever the page is hidden.
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
      // This browser does not support it, or the battery is low. The page shows it.
      this.#onChange(false);
    }
  }
}
