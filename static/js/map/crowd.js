// The crowd on the map: thousands of points, of which only visible changes are sent to
// the map.

import { label } from "../format.js";
import { dataState } from "../liveness.js";
import { PointDiff } from "./diff.js";

// Smaller moves are not visible.
const VISIBLE_PX = 0.5;
// Smaller moves outside of the picture are sent when the map moves there.
const FAR_VISIBLE_PX = 40;
// The delay after a move of the map, which never rests while it follows a runner.
const SETTLED_MS = 150;
const TILE_PX = 512; // the world's width at zoom 0

/**
 * @typedef {import("./map.js").Positioned} Positioned
 * @typedef {{west: number, south: number, east: number, north: number}} Bounds degrees
 */

/** Maintains the map source of the crowd. */
export class Crowd {
  #map;
  #diff = new PointDiff();
  /** @type {Positioned[]} */
  #runners = [];
  #now = 0;

  /** @param {import("maplibre-gl").Map} map */
  constructor(map) {
    this.#map = map;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let settling;
    map.on("moveend", () => {
      clearTimeout(settling);
      settling = setTimeout(() => this.show(this.#runners, this.#now), SETTLED_MS);
    });
  }

  /**
   * Show the crowd at its current positions.
   * @param {Positioned[]} runners
   * @param {number} now
   */
  show(runners, now) {
    this.#runners = runners;
    this.#now = now;
    const bounds = this.#map.getBounds();
    const view = {
      west: bounds.getWest(), south: bounds.getSouth(),
      east: bounds.getEast(), north: bounds.getNorth(),
    };
    const diff = this.#diff.to(
      runners.map((runner) => point(runner, now)),
      hasMoved(view, this.#map.getZoom()),
    );
    if (!diff) return;
    const source = /** @type {import("maplibre-gl").GeoJSONSource} */ (this.#map.getSource("crowd"));
    source.updateData(diff);
  }
}

/**
 * Return whether a point has moved visibly.
 * @param {Bounds} view
 * @param {number} zoom
 */
export function hasMoved({ west, south, east, north }, zoom) {
  const pixel = 360 / (TILE_PX * 2 ** zoom);
  const shrink = Math.cos((Math.PI / 360) * (south + north));
  // An area slightly larger than the picture, for points that enter it.
  const [dx, dy] = [(east - west) / 4, (north - south) / 4];
  /** @param {{lng: number, lat: number}} from @param {{lng: number, lat: number}} to */
  return (from, to) => {
    const isNear =
      to.lng > west - dx && to.lng < east + dx && to.lat > south - dy && to.lat < north + dy;
    const step = pixel * (isNear ? VISIBLE_PX : FAR_VISIBLE_PX);
    return Math.abs(to.lng - from.lng) > step || Math.abs(to.lat - from.lat) > step * shrink;
  };
}

/** @param {Positioned} runner @param {number} now */
function point(runner, now) {
  const { code, colour, fix } = runner;
  const properties = { code, colour, label: label(runner), state: dataState(runner, now) };
  return { lng: fix.lng, lat: fix.lat, properties };
}
