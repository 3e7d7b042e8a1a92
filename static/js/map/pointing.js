// What a finger on the map means: a runner, a heap of them, or a place.

import { CLUSTERS, PICKABLE } from "./layers.js";

// How far from a marker a finger still means it. px.
const REACH = 22;
// A finger that wants a place on the course need not hit its line. px.
const COURSE_REACH = 28;

/**
 * `reach`: what a finger may have missed by, m.
 *
 * @typedef {import("../polyline.js").LngLat} LngLat
 * @typedef {{
 *   onPick: (code: string) => void, onPlace: (place: LngLat, reach: number) => void,
 *   onHeap: (cluster: number, at: LngLat) => void,
 * }} Meanings
 */

/** Listens to the map's clicks, and shows where one would do something. */
export class Pointing {
  #map;
  #meanings;

  /**
   * @param {import("maplibre-gl").Map} map
   * @param {Meanings} meanings
   */
  constructor(map, meanings) {
    this.#map = map;
    this.#meanings = meanings;
    map.on("click", ({ point }) => this.#click(point));
    // A long press, or the other button: a place where runners stand in the way of a tap.
    map.on("contextmenu", ({ point }) => this.#clickPlace(point));
    for (const layer of [...PICKABLE, CLUSTERS]) {
      map.on("mouseenter", layer, () => this.#show("pointer"));
      map.on("mouseleave", layer, () => this.#show(""));
    }
  }

  /** @param {string} cursor */
  #show(cursor) {
    this.#map.getCanvas().style.cursor = cursor;
  }

  /** @param {{x: number, y: number}} point */
  #click({ x, y }) {
    /** @type {[[number, number], [number, number]]} */
    const box = [
      [x - REACH, y - REACH],
      [x + REACH, y + REACH],
    ];
    const hits = this.#map.queryRenderedFeatures(box, { layers: [...PICKABLE, CLUSTERS] });
    const [nearest] = hits
      .map(({ layer, properties, geometry }) => {
        const at = /** @type {LngLat} */ (
          /** @type {import("geojson").Point} */ (geometry).coordinates
        );
        const place = this.#map.project(at);
        return { layer, properties, at, away: Math.hypot(place.x - x, place.y - y) };
      })
      .sort((a, b) => a.away - b.away);
    if (!nearest) return this.#clickPlace({ x, y });
    if (nearest.layer.id !== CLUSTERS) this.#meanings.onPick(nearest.properties.code);
    else this.#meanings.onHeap(nearest.properties.cluster_id, nearest.at);
  }

  /** @param {{x: number, y: number}} point */
  #clickPlace({ x, y }) {
    const place = this.#map.unproject([x, y]);
    const beside = this.#map.unproject([x + COURSE_REACH, y]);
    this.#meanings.onPlace([place.lng, place.lat], place.distanceTo(beside));
  }
}
