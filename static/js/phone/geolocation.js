// The position of this device.

// The least interval between fixes that is useful for spectators.
const LEAST_APART_MS = 900;
// After this time without a fix, request one, so that a standing runner is not lost.
const REQUEST_AFTER_MS = 10_000;
// How long the device may search before the page reports it.
const PATIENCE_MS = 20_000;

/**
 * `denied`: not allowed. `unavailable`: no position found. `insecure`: browsers give
 * positions to https: pages only. `missing`: this browser has no geolocation.
 * @typedef {"denied" | "unavailable" | "insecure" | "missing"} Trouble
 */

/**
 * Return a fix of the browser's position, without unknown values.
 * @param {GeolocationPosition} position
 * @param {{offset: number, battery: number | null}} device
 * @returns {import("./backlog.js").Fix}
 */
export function fixOf({ coords, timestamp }, { offset, battery }) {
  const known = {
    accuracy: coords.accuracy,
    altitude: coords.altitude,
    speed: coords.speed,
    heading: coords.heading,
    battery,
  };
  return {
    t: Math.round(timestamp + offset),
    lat: coords.latitude,
    lng: coords.longitude,
    // The heading is NaN while the device stands still.
    ...Object.fromEntries(Object.entries(known).filter(([, value]) => Number.isFinite(value))),
  };
}

const PRECISELY = { enableHighAccuracy: true, maximumAge: 0, timeout: PATIENCE_MS };

/** Return why positions are not possible here, or null. @returns {Trouble | null} */
export function obstacle() {
  if (!globalThis.isSecureContext) return "insecure";
  return navigator.geolocation ? null : "missing";
}

/** Watches the device's position while it is wanted. */
export class Locator {
  #handlers;
  /** @type {number | null} */
  #watch = null;
  #last = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {{
   *   onPosition: (position: GeolocationPosition) => void,
   *   onTrouble: (trouble: Trouble) => void,
   * }} handlers
   */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  start() {
    const trouble = obstacle();
    if (trouble) this.#handlers.onTrouble(trouble);
    if (trouble || this.#watch !== null) return;
    this.#watch = navigator.geolocation.watchPosition(
      (position) => this.#accept(position),
      (error) => this.#fail(error),
      PRECISELY,
    );
    this.#requestSoon();
  }

  stop() {
    clearTimeout(this.#timer);
    if (this.#watch !== null) navigator.geolocation.clearWatch(this.#watch);
    this.#watch = null;
  }

  /** @param {GeolocationPosition} position */
  #accept(position) {
    // This position arrived while the watch was being stopped.
    if (this.#watch === null) return;
    if (Math.abs(position.timestamp - this.#last) < LEAST_APART_MS) return;
    this.#last = position.timestamp;
    this.#requestSoon();
    this.#handlers.onPosition(position);
  }

  #requestSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#requestSoon();
      // The watch reports errors, so these are ignored.
      navigator.geolocation.getCurrentPosition((position) => this.#accept(position), () => {}, PRECISELY);
    }, REQUEST_AFTER_MS);
  }

  /** @param {GeolocationPositionError} error */
  #fail({ code, PERMISSION_DENIED }) {
    // After a refusal the watch has ended. Otherwise it continues.
    if (code === PERMISSION_DENIED) this.stop();
    this.#handlers.onTrouble(code === PERMISSION_DENIED ? "denied" : "unavailable");
  }
}
