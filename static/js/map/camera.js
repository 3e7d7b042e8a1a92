// Where the map looks. It never moves by itself once the visitor moved it.

const FIT_MOST_ZOOM = 15.5;
const RUNNER_ZOOM = 15;
// Around what is fitted, for the names beside the course and our own buttons. px.
const MARGIN = { top: 72, right: 72, bottom: 48, left: 48 };
const NARROW_MARGIN = { top: 72, right: 56, bottom: 40, left: 56 };
const NARROW = 600; // px

/** @typedef {import("../polyline.js").LngLat} LngLat */

/** Moves the map. */
export class Camera {
  #map;
  #covered = 0; // px of the map's lower edge under the sheet
  /** @type {string | null} code of the runner it stays with */
  #followed = null;
  #isFree = false; // the visitor moved it

  /** @param {import("maplibre-gl").Map} map */
  constructor(map) {
    this.#map = map;
    map.on("dragstart", () => this.release());
    // Who zooms or turns still looks at the same runner. Our own moves have no original event.
    for (const kind of /** @type {const} */ (["zoomstart", "rotatestart"])) {
      map.on(kind, (event) => {
        if (event.originalEvent) this.#isFree = true;
      });
    }
  }

  get followed() {
    return this.#followed;
  }

  get isFree() {
    return this.#isFree;
  }

  /** The visitor took over. */
  release() {
    this.#isFree = true;
    this.#followed = null;
  }

  /**
   * Keep clear of the sheet.
   *
   * @param {number} covered px of the map's lower edge
   */
  setCovered(covered) {
    if (covered === this.#covered) return;
    this.#covered = covered;
    this.#map.easeTo({ padding: this.#padding(), duration: motion(200) });
  }

  /**
   * Show all of some places.
   *
   * @param {LngLat[]} points
   * @param {{animate?: boolean}} [options]
   */
  fit(points, { animate = true } = {}) {
    if (points.length === 0) return;
    this.#followed = null;
    const lngs = points.map(([lng]) => lng);
    const lats = points.map(([, lat]) => lat);
    /** @type {[LngLat, LngLat]} */
    const bounds = [
      [Math.min(...lngs), Math.min(...lats)],
      [Math.max(...lngs), Math.max(...lats)],
    ];
    // The padding for the sheet is the camera's own; `fitBounds` would add it again.
    this.#map.fitBounds(bounds, {
      padding: this.#map.getContainer().clientWidth < NARROW ? NARROW_MARGIN : MARGIN,
      maxZoom: FIT_MOST_ZOOM,
      bearing: 0,
      duration: animate ? motion(250) : 0,
    });
  }

  /**
   * Go to a runner and stay with them; null: stay here.
   *
   * @param {string | null} code
   * @param {LngLat | undefined} place
   */
  follow(code, place) {
    this.#followed = code;
    if (code === null || !place) return;
    this.#isFree = false;
    this.#map.easeTo({
      center: place,
      zoom: Math.max(this.#map.getZoom(), RUNNER_ZOOM),
      padding: this.#padding(),
      duration: motion(250),
    });
  }

  /**
   * The runner it stays with has moved.
   *
   * @param {LngLat} place
   */
  track(place) {
    if (this.#map.isMoving()) return;
    this.#map.setCenter(place);
  }

  /** @param {number} step levels */
  zoom(step) {
    this.#map.easeTo({ zoom: this.#map.getZoom() + step, duration: motion(200) });
  }

  north() {
    this.#map.easeTo({ bearing: 0, pitch: 0, duration: motion(200) });
  }

  #padding() {
    return { top: 0, left: 0, right: 0, bottom: this.#covered };
  }
}

/** @param {number} ms */
function motion(ms) {
  return matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : ms;
}
