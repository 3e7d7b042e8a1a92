// Interprets a tap on the map: a runner, a cluster of runners, or a position.

import { CLUSTERS, PICKABLE } from "./layers.js";

// The tolerance of a tap around a marker.
const REACH_PX = 22;
// The tolerance of a tap around the course line.
const COURSE_REACH_PX = 28;

/**
 * `reach` is the tolerance of the tap in metres.
 * @typedef {import("../polyline.js").LngLat} LngLat
 * @typedef {{
 *   onPick: (code: string) => void, onPlace: (place: LngLat, reach: number) => void,
 *   onHeap: (cluster: number, at: LngLat) => void,
 * }} Meanings
 */

/** Handles clicks on the map, and shows where one would have an effect. */
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
    // A long press or the secondary button selects a position that runners cover.
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
      [x - REACH_PX, y - REACH_PX],
      [x + REACH_PX, y + REACH_PX],
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
    const beside = this.#map.unproject([x + COURSE_REACH_PX, y]);
    this.#meanings.onPlace([place.lng, place.lat], place.distanceTo(beside));
  }
}
