// The visitor's own position, used while they want distances to runners.

import { find, setAttribute, setText } from "./dom.js";
import { gettext } from "./language.js";

/** The buttons that switch distances on, and that ask for the place of the visitor. */
export class Here {
  /** @type {import("./polyline.js").LngLat | null} null: not wanted, or not known */
  place = null;
  #button = find("#away");
  #onChange;
  #onStand;
  /** Whether the next position is one that the visitor asks about. */
  #isAsked = false;
  /** @type {number | null} */
  #watchId = null;

  /**
   * @param {{
   *   onChange: () => void, onStand: (place: import("./polyline.js").LngLat) => void,
   * }} options `onStand`: the visitor asks about the place where they stand
   */
  constructor({ onChange, onStand }) {
    this.#onChange = onChange;
    this.#onStand = onStand;
    const stand = find("#stand");
    this.#button.hidden = stand.hidden = !navigator.geolocation;
    stand.addEventListener("click", () => {
      this.#isAsked = true;
      if (this.place) this.#answer(this.place);
      else if (this.#watchId === null) this.#start();
    });
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
        if (this.#isAsked) this.#answer(this.place);
        this.#onChange();
      },
      () => {
        setText(this.#button, gettext("Your position is not known"));
        this.#stop();
      },
      { maximumAge: 30_000 },
    );
  }

  /** @param {import("./polyline.js").LngLat} place */
  #answer(place) {
    this.#isAsked = false;
    this.#onStand(place);
  }

  #stop() {
    this.#isAsked = false;
    setAttribute(this.#button, "aria-pressed", "false");
    if (this.#watchId !== null) navigator.geolocation.clearWatch(this.#watchId);
    this.#watchId = null;
    this.place = null;
    this.#onChange();
  }
}
