// The map's camera. After a move by the visitor it does not move on its own.

export const FIT_MOST_ZOOM = 15.5;
const RUNNER_ZOOM = 15;
// Padding in px around fitted positions, for names beside the course and the page's
// buttons.
const MARGIN = { top: 72, right: 72, bottom: 48, left: 48 };
const NARROW_MARGIN = { top: 72, right: 56, bottom: 40, left: 56 };
const NARROW_PX = 600;
// On the smallest phones the buttons are a row above the sheet, and the connection's state
// is below the title.
const SMALL_MARGIN = { top: 104, right: 40, bottom: 72, left: 40 };
const SMALL_PX = 370;

/** @typedef {import("../polyline.js").LngLat} LngLat */

/**
 * Return the padding around fitted positions.
 * @param {number} width of the map, px
 */
export function marginOf(width) {
  if (width < SMALL_PX) return SMALL_MARGIN;
  return width < NARROW_PX ? NARROW_MARGIN : MARGIN;
}

/** Moves the map. */
export class Camera {
  #map;
  #covered = 0; // px of the map's lower edge that the sheet covers
  /** @type {string | null} code of the runner it stays with */
  #followed = null;
  #isFree = false; // the visitor has moved the map
  #keepsMine = false;
  #hasFitted = false;
  /** @type {LngLat[]} the positions that stay in view until something moves the map */
  #fitted = [];
  #onChange;

  /**
   * @param {import("maplibre-gl").Map} map
   * @param {(mode: string) => void} onChange told what it does now: free, follow or mine
   */
  constructor(map, onChange) {
    this.#map = map;
    this.#onChange = onChange;
    map.on("dragstart", () => this.release());
    map.getCanvas().addEventListener("keydown", ({ key }) => {
      if (key.startsWith("Arrow")) this.release();
    });
    // Visitors who zoom or rotate still watch the same runner. Moves by scripts have no
    // original event.
    for (const kind of /** @type {const} */ (["zoomstart", "rotatestart"])) {
      map.on(kind, (event) => {
        if (!event.originalEvent) return;
        this.#isFree = true;
        this.#fitted = [];
        if (this.#keepsMine) this.release();
      });
    }
  }

  get followed() {
    return this.#followed;
  }

  get isFree() {
    return this.#isFree;
  }

  get keepsMine() {
    return this.#keepsMine;
  }

  /** Stop moving, because the visitor has taken control. */
  release() {
    this.#isFree = true;
    this.#set(null, false);
  }

  /** @param {string | null} followed @param {boolean} keepsMine */
  #set(followed, keepsMine) {
    this.#followed = followed;
    this.#keepsMine = keepsMine;
    this.#fitted = [];
    this.#onChange(keepsMine ? "mine" : followed === null ? "free" : "follow");
  }

  /**
   * Keep positions in view. Move only if one is outside, or if they use only a corner of
   * the map.
   * @param {LngLat[]} places
   */
  keep(places) {
    if (!this.#keepsMine) this.#set(null, true);
    else if (this.#map.isMoving() || this.#isWellInView(places)) return;
    if (places.length) this.#fit(places, true);
  }

  /** @param {LngLat[]} places */
  #isWellInView(places) {
    const { clientWidth: width, clientHeight: height } = this.#map.getContainer();
    const { top, right, bottom, left } = this.#margin();
    const seen = places.map((place) => this.#map.project(place));
    const xs = seen.map(({ x }) => x);
    const ys = seen.map(({ y }) => y);
    const inside = seen.every(
      ({ x, y }) =>
        x > left / 2 && x < width - right / 2 &&
        y > top / 2 && y < height - this.#covered - bottom / 2,
    );
    const across = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
    const isSmall = across < Math.min(width, height) / 4;
    return inside && !(isSmall && this.#map.getZoom() < FIT_MOST_ZOOM - 1);
  }

  #margin() {
    return marginOf(this.#map.getContainer().clientWidth);
  }

  /**
   * Keep positions clear of the sheet.
   * @param {number} covered px of the map's lower edge
   */
  setCovered(covered) {
    if (covered === this.#covered) return;
    this.#covered = covered;
    if (this.#fitted.length) {
      this.#map.setPadding(this.#padding());
      return this.#fit(this.#fitted, false);
    }
    // Set immediately before the first picture, which would be drawn for the uncovered
    // map.
    const duration = this.#hasFitted ? motion(200) : 0;
    this.#map.easeTo({ padding: this.#padding(), duration });
  }

  /**
   * Show all of these positions.
   * @param {LngLat[]} points
   * @param {{animate?: boolean}} [options]
   */
  fit(points, { animate = true } = {}) {
    if (points.length === 0) return;
    this.#set(null, false);
    this.#fitted = points;
    this.#fit(points, animate);
  }

  /** @param {LngLat[]} points @param {boolean} animate */
  #fit(points, animate) {
    this.#hasFitted = true;
    const lngs = points.map(([lng]) => lng);
    const lats = points.map(([, lat]) => lat);
    /** @type {[LngLat, LngLat]} */
    const bounds = [
      [Math.min(...lngs), Math.min(...lats)],
      [Math.max(...lngs), Math.max(...lats)],
    ];
    // The padding for the sheet is set on the camera, and `fitBounds` would add it twice.
    this.#map.fitBounds(bounds, {
      padding: this.#margin(),
      maxZoom: FIT_MOST_ZOOM,
      bearing: 0,
      duration: animate ? motion(250) : 0,
    });
  }

  /**
   * Go to a runner and follow their moves. Null: stay here.
   * @param {string | null} code
   * @param {LngLat | undefined} place
   */
  follow(code, place) {
    this.#set(code, false);
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
   * Follow a move of the runner.
   * @param {LngLat} place
   */
  track(place) {
    if (this.#map.isMoving()) return;
    this.#map.setCenter(place);
  }

  /** @param {number} step levels */
  zoom(step) {
    this.#fitted = [];
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
