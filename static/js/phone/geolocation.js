// Where this device is.

// Fixes closer together tell a spectator nothing. ms.
const LEAST_APART = 900;
// After so long without a place ask for one: who stands still is not lost. ms.
const ASK_AFTER = 10_000;
// How long the device may look before the page says that it finds nothing. ms.
const PATIENCE = 20_000;

/**
 * `denied`: not allowed; `unavailable`: the device finds no place; `insecure`: browsers
 * tell a place to https: pages only; `missing`: this one never does.
 *
 * @typedef {"denied" | "unavailable" | "insecure" | "missing"} Trouble
 */

/**
 * Make a fix of what the browser says; what it does not know is left out.
 *
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
    // A heading is NaN while the device stands still.
    ...Object.fromEntries(Object.entries(known).filter(([, value]) => Number.isFinite(value))),
  };
}

const PRECISELY = { enableHighAccuracy: true, maximumAge: 0, timeout: PATIENCE };

/** Why there can be no place here at all, or null. @returns {Trouble | null} */
export function obstacle() {
  if (!globalThis.isSecureContext) return "insecure";
  return navigator.geolocation ? null : "missing";
}

/** Watches the device's place while it is wanted. */
export class Locator {
  #handlers;
  /** @type {number | null} */
  #watch = null;
  #last = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #ask;

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
      (position) => this.#take(position),
      (error) => this.#fail(error),
      PRECISELY,
    );
    this.#askSoon();
  }

  stop() {
    clearTimeout(this.#ask);
    if (this.#watch !== null) navigator.geolocation.clearWatch(this.#watch);
    this.#watch = null;
  }

  /** @param {GeolocationPosition} position */
  #take(position) {
    // One that came in while the watch was being ended.
    if (this.#watch === null) return;
    if (Math.abs(position.timestamp - this.#last) < LEAST_APART) return;
    this.#last = position.timestamp;
    this.#askSoon();
    this.#handlers.onPosition(position);
  }

  #askSoon() {
    clearTimeout(this.#ask);
    this.#ask = setTimeout(() => {
      this.#askSoon();
      // The watch tells what goes wrong.
      navigator.geolocation.getCurrentPosition((position) => this.#take(position), () => {}, PRECISELY);
    }, ASK_AFTER);
  }

  /** @param {GeolocationPositionError} error */
  #fail({ code, PERMISSION_DENIED }) {
    // After a refusal the watch is over; else it goes on looking.
    if (code === PERMISSION_DENIED) this.stop();
    this.#handlers.onTrouble(code === PERMISSION_DENIED ? "denied" : "unavailable");
  }
}
