// The server's clock: what time it is is told by its frames, not by this device.

// A frame that was held up on the way says that it is earlier than it is. Such are
// believed a little, so that markers do not tremble; what differs by more is another
// clock. ms.
const TREMBLE = 3000;
const BELIEF = 0.02;
// This device has slept if its two clocks part by so much. ms.
const SLEPT = 2000;

/** Keeps the server's time from the `time` of its frames. */
export class ServerClock {
  #offset = 0; // server time less this page's own running time, ms
  #tick;
  #date;
  #slept; // what the running time has missed, ms

  /**
   * @param {number} time the server's time now, ms since the epoch
   * @param {() => number} tick a running time in ms that nobody sets, but may stand
   *   still while the device sleeps
   * @param {() => number} date this device's own idea of the time, of use only for how
   *   far it has gone on
   */
  constructor(time, tick = () => performance.now(), date = () => Date.now()) {
    this.#tick = tick;
    this.#date = date;
    this.#slept = date() - tick();
    this.#offset = time - tick();
  }

  /**
   * Take the time of a frame that just came in.
   *
   * @param {number} time
   */
  saw(time) {
    if (!Number.isFinite(time)) return;
    this.#slept = this.#date() - this.#tick();
    const offset = time - this.#tick();
    const late = this.#offset - offset;
    this.#offset = late < 0 || late > TREMBLE ? offset : this.#offset - BELIEF * late;
  }

  /** The server's time now, ms since the epoch. */
  now() {
    // After a sleep, and until the next frame: else what is hours old would look fresh.
    const slept = this.#date() - this.#tick() - this.#slept;
    return this.#tick() + this.#offset + (slept > SLEPT ? slept : 0);
  }
}
