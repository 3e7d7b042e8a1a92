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
    const opened = new DeskMap(map, library);
    const answer = config.course ? await fetch(config.course) : null;
    if (answer?.ok) opened.showCourse(await answer.json());
    return opened;
  }

  /**
   * Draw the course, and show all of it until somebody calls, is silent or off course.
   * @param {import("geojson").FeatureCollection} course
   */
  showCourse(course) {
    const color = readTokens()["map-course"];
    this.#map.addSource("course", { type: "geojson", data: course });
    this.#map.addLayer({ id: "course", type: "line", source: "course", filter: ["==", ["geometry-type"], "LineString"], paint: { "line-color": color, "line-width": 4 } });
    this.#fit(course.features.flatMap(({ geometry }) =>
      geometry.type === "LineString" ? geometry.coordinates : []));
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
    if (spots.length && !this.#hasFitted) {
      this.#hasFitted = true;
      this.#fit(spots.map(({ place }) => place));
    }
  }

  /** @param {number[][]} places [lng, lat] */
  #fit(places) {
    if (!places.length) return;
    const bounds = new this.#library.LngLatBounds();
    for (const [lng, lat] of places) bounds.extend([lng, lat]);
    this.#map.fitBounds(bounds, { padding: 48, maxZoom: CLOSEST_ZOOM, animate: false });
  }
}
