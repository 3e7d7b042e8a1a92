// The map of the desk: who calls for help, is off course or silent.

import { find } from "../dom.js";
import { openBase } from "../map/open.js";
import { readTokens } from "../map/style.js";

/** @type {Record<string, string>} */
const SHAPES = { "calls for help": "!", "off course": "▲", silent: "○" };
const CLOSEST_ZOOM = 15;

/** The map once it is open. */
export class DeskMap {
  #map;
  #library;
  /** @type {Map<string, any>} markers by key */
  #markers = new Map();
  #hasFitted = false;

  /** @param {import("maplibre-gl").Map} map @param {any} library */
  constructor(map, library) {
    this.#map = map;
    this.#library = library;
  }

  /** @param {import("../map/open.js").Config & {course: string | null}} config */
  static async open(config) {
    find("#desk-map").hidden = false;
    const { map, library } = await openBase(config, "desk-map", {});
    if (config.course) {
      const color = readTokens()["map-course"];
      map.addSource("course", { type: "geojson", data: new URL(config.course, location.href).href });
      map.addLayer({ id: "course", type: "line", source: "course", filter: ["==", ["geometry-type"], "LineString"], paint: { "line-color": color, "line-width": 4 } });
    }
    return new DeskMap(map, library);
  }

  /** @param {import("./desk.js").Spot[]} spots */
  show(spots) {
    const keys = new Set(spots.map(({ key }) => key));
    for (const [key, marker] of this.#markers) {
      if (keys.has(key)) continue;
      marker.remove();
      this.#markers.delete(key);
    }
    for (const { key, kind, bib, place } of spots) {
      let marker = this.#markers.get(key);
      if (!marker) {
        const element = document.createElement("span");
        marker = new this.#library.Marker({ element }).setLngLat(place).addTo(this.#map);
        this.#markers.set(key, marker);
      }
      const element = marker.getElement();
      element.className = `${element.className.replace(/ ?desk-spot/, "")} desk-spot`.trim();
      element.dataset.kind = kind;
      element.setAttribute("aria-label", `${bib}: ${kind}`);
      element.textContent = `${SHAPES[kind]} ${bib}`;
      marker.setLngLat(place);
    }
    if (spots.length && !this.#hasFitted) this.#fit(spots);
  }

  /** @param {import("./desk.js").Spot[]} spots */
  #fit(spots) {
    this.#hasFitted = true;
    const bounds = new this.#library.LngLatBounds();
    for (const { place } of spots) bounds.extend(place);
    this.#map.fitBounds(bounds, { padding: 48, maxZoom: CLOSEST_ZOOM, animate: false });
  }
}
