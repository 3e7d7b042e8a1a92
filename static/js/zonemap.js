// The map on which a runner chooses the place of a privacy zone.

import { find } from "./dom.js";
import { openBase } from "./map/open.js";
import { readTokens } from "./map/style.js";
import { placeFrom } from "./metres.js";

const CORNERS = 64;
// What a zone of the usual radius hides at most fits on a phone.
const START_ZOOM = 12;

/**
 * @typedef {import("./polyline.js").LngLat} LngLat
 * @typedef {{lat: number, lng: number, radius: number}} Zone
 * @typedef {import("./map/open.js").Config & {
 *   zones: Zone[], start: LngLat | null, farthest: number,
 * }} Config `farthest`: what is hidden at most, in radii
 */

/**
 * Return a circle as a polygon.
 * @param {LngLat} centre
 * @param {number} radius m
 * @returns {import("geojson").Polygon}
 */
export function circle(centre, radius) {
  const turn = (/** @type {number} */ n) => placeFrom(centre, (360 * (n % CORNERS)) / CORNERS, radius);
  return { type: "Polygon", coordinates: [Array.from({ length: CORNERS + 1 }, (_, n) => turn(n))] };
}

/** Open the map beside the form, and keep both alike. */
export async function openZoneMap() {
  const config = /** @type {Config} */ (JSON.parse(find("#zone-map-config").textContent ?? ""));
  const [lat, lng, radius] = ["lat", "lng", "radius"].map(
    (name) => /** @type {HTMLInputElement} */ (find(`#zone_${name}`)),
  );
  find("#zone-map").hidden = false;
  find("#zone-map-help").hidden = false;
  const { map } = await openBase(config, "zone-map", {});
  const { accent, muted } = readTokens();
  map.addSource("zones", { type: "geojson", data: shapes([], 1) });
  map.addLayer({ id: "zones", type: "fill", source: "zones", filter: ["!", ["get", "isLimit"]], paint: { "fill-color": accent, "fill-opacity": 0.3 } });
  map.addLayer({ id: "zones-hidden", type: "line", source: "zones", filter: ["get", "isLimit"], paint: { "line-color": muted, "line-width": 2, "line-dasharray": [2, 2] } });
  const draw = () => {
    const isChosen = lat.value !== "" && lng.value !== "" && lat.validity.valid && lng.validity.valid;
    const chosen = { lat: Number(lat.value), lng: Number(lng.value), radius: Number(radius.value) };
    const zones = isChosen ? [...config.zones, chosen] : config.zones;
    /** @type {import("maplibre-gl").GeoJSONSource} */ (map.getSource("zones")).setData(shapes(zones, config.farthest));
    if (isChosen && !map.getBounds().contains([chosen.lng, chosen.lat])) {
      map.jumpTo({ center: [chosen.lng, chosen.lat], zoom: Math.max(map.getZoom(), START_ZOOM) });
    }
  };
  if (config.start) map.jumpTo({ center: config.start, zoom: START_ZOOM });
  map.on("click", ({ lngLat }) => {
    lat.value = lngLat.lat.toFixed(5);
    lng.value = lngLat.lng.toFixed(5);
    draw();
  });
  for (const field of [lat, lng, radius]) field.addEventListener("input", draw);
  draw();
  // For the browser's console, and for tests that inspect the map.
  Object.assign(globalThis, { zoneMap: map });
}

/**
 * @param {Zone[]} zones
 * @param {number} farthest
 * @returns {import("geojson").FeatureCollection}
 */
function shapes(zones, farthest) {
  return {
    type: "FeatureCollection",
    features: zones.flatMap(({ lat, lng, radius }) =>
      [1, farthest].map((times) => ({
        type: "Feature",
        properties: { isLimit: times > 1 },
        geometry: circle([lng, lat], times * radius),
      })),
    ),
  };
}
