// The visitor's own position, used while they want distances to runners.

import { find, setAttribute, setText } from "./dom.js";
import { gettext } from "./language.js";

/** The button that switches distances on. */
export class Here {
  /** @type {import("./polyline.js").LngLat | null} null: not wanted, or not known */
  place = null;
  #button = find("#away");
  #onChange;
  /** @type {number | null} */
  #watchId = null;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    this.#button.hidden = !navigator.geolocation;
    this.#button.addEventListener("click", () => {
      if (this.#watchId === null) this.#start();
      else this.#stop();
    });
  }

  #start() {
    setAttribute(this.#button, "aria-pressed", "true");
    this.#watchId = navigator.geolocation.watchPosition(
      ({ coords }) => {
        this.place = [coords.longitude, coords.latitude];
        this.#onChange();
      },
      () => {
        setText(this.#button, gettext("Your position is not known"));
        this.#stop();
      },
      { maximumAge: 30_000 },
    );
  }

  #stop() {
    setAttribute(this.#button, "aria-pressed", "false");
    if (this.#watchId !== null) navigator.geolocation.clearWatch(this.#watchId);
    this.#watchId = null;
    this.place = null;
    this.#onChange();
  }
}
