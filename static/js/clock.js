// The server's clock, from the times of its frames rather than from this device.

// Delayed frames have an earlier time. Small differences are averaged, so that markers do
// not tremble. A greater difference means a different clock.
const TREMBLE_MS = 3000;
const DRIFT_GAIN = 0.02;
// The device was asleep if its two clocks differ by this much.
const SLEPT_MS = 2000;

/** Keeps the server's time, from the `time` of its frames. */
export class ServerClock {
  #offset = 0; // server time minus this page's running time, ms
  #tick;
  #date;
  #slept; // ms that the running time lacks after sleep

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
   * Process the time of a received frame.
   * @param {number} time
   */
  saw(time) {
    if (!Number.isFinite(time)) return;
    this.#slept = this.#date() - this.#tick();
    const offset = time - this.#tick();
    const late = this.#offset - offset;
    this.#offset = late < 0 || late > TREMBLE_MS ? offset : this.#offset - DRIFT_GAIN * late;
  }

  /** Return the server's present time in ms since the epoch. */
  now() {
    // After sleep, and until the next frame, old positions would otherwise look fresh.
    const slept = this.#date() - this.#tick() - this.#slept;
    return this.#tick() + this.#offset + (slept > SLEPT_MS ? slept : 0);
  }
}
