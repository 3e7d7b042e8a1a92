// The server's clock: what time it is is told by its frames, not by this device.

/** Keeps the server's time from the `time` of its frames. */
export class ServerClock {
  #offset = 0; // server time less this page's own running time, ms
  #tick;

  /**
   * @param {number} time the server's time now, ms since the epoch
   * @param {() => number} tick a running time in ms that nobody sets
   */
  constructor(time, tick = () => performance.now()) {
    this.#tick = tick;
    this.saw(time);
  }

  /**
   * Take the time of a frame that just came in.
   *
   * @param {number} time
   */
  saw(time) {
    if (Number.isFinite(time)) this.#offset = time - this.#tick();
  }

  /** The server's time now, ms since the epoch. */
  now() {
    return this.#tick() + this.#offset;
  }
}
