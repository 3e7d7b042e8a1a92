// Keeps an element of the page at a place of the map.

const GAP_PX = 14;
const EDGE_PX = 8;
// The upper edge has buttons.
const TOP_PX = 68;

/** The callout, which moves with the map and stays inside it. */
export class Anchored {
  #map;
  #element;
  /** @type {import("../polyline.js").LngLat | null} */
  #place = null;
  #covered = 0;

  /** @param {import("maplibre-gl").Map} map @param {HTMLElement} element */
  constructor(map, element) {
    this.#map = map;
    this.#element = element;
    map.on("move", () => this.#move());
    new ResizeObserver(() => this.#makeRoom()).observe(element);
  }

  /**
   * Show the element at a place, which is brought into view, or hide it.
   * @param {import("../polyline.js").LngLat | null} place
   */
  show(place) {
    this.#place = place;
    this.#element.hidden = place === null;
    if (place && !this.#isInView(place)) this.#map.easeTo({ center: place });
    this.#makeRoom();
  }

  /** @param {number} covered px of the lower edge */
  setCovered(covered) {
    this.#covered = covered;
    this.#move();
  }

  /** @param {import("../polyline.js").LngLat} place */
  #isInView(place) {
    const { x, y } = this.#map.project(place);
    return x > 0 && x < this.#map.getContainer().clientWidth && y > 0 && y < this.#lowest();
  }

  // Show all of the element: move the map down if there is no room below the place.
  #makeRoom() {
    this.#move();
    if (this.#place === null || !this.#isInView(this.#place)) return;
    const { y } = this.#map.project(this.#place);
    const highest = TOP_PX + this.#element.offsetHeight + GAP_PX;
    const wanted = Math.min(highest, this.#lowest() - GAP_PX);
    if (y < wanted && !this.#hasRoomBelow(y)) this.#map.panBy([0, y - wanted]);
  }

  #lowest() {
    return this.#map.getContainer().clientHeight - this.#covered;
  }

  /** @param {number} y of the place, px */
  #hasRoomBelow(y) {
    return y + GAP_PX + this.#element.offsetHeight + EDGE_PX <= this.#lowest();
  }

  #move() {
    if (this.#place === null) return;
    const { x, y } = this.#map.project(this.#place);
    const { clientWidth } = this.#map.getContainer();
    const { offsetWidth, offsetHeight, style } = this.#element;
    const left = Math.max(EDGE_PX, Math.min(x - offsetWidth / 2, clientWidth - offsetWidth - EDGE_PX));
    const above = y - offsetHeight - GAP_PX;
    const isBelow = above < TOP_PX && this.#hasRoomBelow(y);
    const top = isBelow ? y + GAP_PX : Math.max(above, EDGE_PX);
    style.translate = `${Math.round(left)}px ${Math.round(top)}px`;
    style.visibility = this.#isInView(this.#place) ? "" : "hidden";
  }
}
