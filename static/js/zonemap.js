// The map on which a runner chooses the place of a privacy zone.

import { find } from "./dom.js";
import { openBase } from "./map/open.js";
import { readTokens } from "./map/style.js";
import { placeFrom } from "./metres.js";

const CORNERS = 64;
// What a zone of the usual radius hides at most fits on a phone.
const START_ZOOM = 12;
// The paths of the last days show where home is, also on a map without streets.
const PATHS_MS = 3 * 24 * 3600 * 1000;
// Two fixes with more time between them do not belong to the same path.
const PATH_GAP_MS = 10 * 60 * 1000;

/**
 * @typedef {import("./polyline.js").LngLat} LngLat
 * @typedef {{lat: number, lng: number, radius: number}} Zone
 * @typedef {import("./map/open.js").Config & {
 *   zones: Zone[], start: LngLat | null, farthest: number, track: string,
 * }} Config `farthest`: what is hidden at most, in radii; `track`: the URL of the own track
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
  map.addSource("paths", { type: "geojson", data: paths([]) });
  map.addLayer({ id: "paths", type: "line", source: "paths", paint: { "line-color": accent, "line-width": 2 } });
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
  void drawPaths(map, config.track);
  // For the browser's console, and for tests that inspect the map.
  Object.assign(globalThis, { zoneMap: map });
}

/**
 * Show where the runner has been. Without an answer the map is of use, too.
 * @param {import("maplibre-gl").Map} map
 * @param {string} url
 */
async function drawPaths(map, url) {
  const response = await fetch(`${url}?since=${Date.now() - PATHS_MS}`);
  if (!response.ok) return;
  const source = /** @type {import("maplibre-gl").GeoJSONSource} */ (map.getSource("paths"));
  source.setData(paths((await response.json()).points));
}

/**
 * Return a line for each path.
 * @param {import("./tracks.js").Points} points oldest first
 * @returns {import("geojson").Feature}
 */
export function paths(points) {
  const lines = points.reduce((/** @type {LngLat[][]} */ found, [t, lat, lng], n) => {
    const isNew = n === 0 || t - points[n - 1][0] > PATH_GAP_MS;
    if (isNew) found.push([]);
    found[found.length - 1].push([lng, lat]);
    return found;
  }, []);
  const coordinates = lines.filter((line) => line.length > 1);
  return { type: "Feature", properties: {}, geometry: { type: "MultiLineString", coordinates } };
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
