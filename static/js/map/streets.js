// The street map around courses: vector tiles from this server, in the schema of
// Protomaps' basemaps (version 4), in quiet colours below the course.

import { FIT_MOST_ZOOM, marginOf } from "./camera.js";
import { FONT } from "./layers.js";

// MapLibre requests the tiles by this protocol, see `serveTiles`.
const PROTOCOL = "streets";
// Outlines of land are shown below this zoom, where tiles are wider than countries.
export const OUTLINES_TO = 6;
const GREENS = [
  "allotments", "cemetery", "forest", "garden", "golf_course", "grass", "grassland",
  "meadow", "national_park", "nature_reserve", "park", "pitch", "playground",
  "protected_area", "recreation_ground", "scrub", "village_green", "wood",
];
// [kinds of roads, from this zoom on, their width at zooms 10, 14 and 18 in px]
/** @type {Record<string, [kinds: string[], minzoom: number, widths: number[]]>} */
const ROADS = {
  minor: [["minor_road", "other"], 12, [0.4, 2, 14]],
  major: [["major_road"], 8, [0.8, 3.5, 20]],
  highway: [["highway"], 5, [1.4, 5, 26]],
};

// The library's size of a tile, in px.
const TILE_PX = 512;
// Tiles requested before the library asks for them, by address.
/** @type {Map<string, Promise<ArrayBuffer | null>>} */
const ahead = new Map();

/**
 * `bounds`: west, south, east, north.
 * @typedef {{url: string, bounds: number[], maxZoom: number, attribution: string}} Streets
 * @typedef {import("./style.js").Tokens} Tokens
 */

/**
 * Return the source of the tiles of all maps.
 * @param {Streets[]} maps
 * @returns {import("maplibre-gl").VectorSourceSpecification}
 */
export function streetSource(maps) {
  const edge = (/** @type {number} */ at) => maps.map(({ bounds }) => bounds[at]);
  return {
    type: "vector",
    tiles: [`${PROTOCOL}://{z}/{x}/{y}`],
    bounds: [
      Math.min(...edge(0)), Math.min(...edge(1)), Math.max(...edge(2)), Math.max(...edge(3)),
    ],
    maxzoom: Math.max(...maps.map(({ maxZoom }) => maxZoom)),
    attribution: [...new Set(maps.map(({ attribution }) => attribution))].join(" · "),
  };
}

/**
 * Answer the library's requests for tiles. Where there is none, the library shows the
 * tile of a lower zoom, as the request fails.
 * @param {any} library
 * @param {Streets[]} maps
 * @param {Record<string, string>} headers
 */
export function serveTiles(library, maps, headers) {
  library.addProtocol(
    PROTOCOL,
    async (/** @type {{url: string}} */ { url }, /** @type {AbortController} */ { signal }) => {
      const tile = /** @type {[number, number, number]} */ (url.match(/\d+/g)?.map(Number));
      for (const map of maps.filter(({ bounds }) => covers(bounds, tile))) {
        const address = map.url.replace("0/0/0", tile.join("/"));
        const request = () => fetchTile(address, { headers, signal });
        const data = await (ahead.get(address)?.catch(request) ?? request());
        ahead.delete(address);
        if (data !== null) return { data };
      }
      throw new Error(`no streets at ${tile.join("/")}`);
    },
  );
}

/**
 * Request the tiles of the first view while the library is loading.
 * @param {Streets[]} maps
 * @param {Record<string, string>} headers
 * @param {import("../polyline.js").LngLat[]} points as of `tilesOf`
 * @param {{width: number, height: number}} size
 * @param {number} covered
 */
export function fetchAhead(maps, headers, points, size, covered) {
  for (const { url, bounds, maxZoom } of maps) {
    const tiles = tilesOf(points, size, covered, maxZoom);
    for (const tile of tiles.filter((of) => covers(bounds, of))) {
      const address = url.replace("0/0/0", tile.join("/"));
      const data = fetchTile(address, { headers });
      data.catch(() => ahead.delete(address)); // requested again by the library
      ahead.set(address, data);
    }
  }
}

/** @param {string} address @param {RequestInit} options */
async function fetchTile(address, options) {
  const response = await fetch(address, options);
  return response.status === 200 ? response.arrayBuffer() : null;
}

/**
 * Return the tiles of a map that is fitted to points, as the camera does it.
 * @param {import("../polyline.js").LngLat[]} points
 * @param {{width: number, height: number}} size of the map, px
 * @param {number} covered px of its lower edge
 * @param {number} maxZoom of the tiles
 */
export function tilesOf(points, { width, height }, covered, maxZoom) {
  const { top, right, bottom, left } = marginOf(width);
  const [west, east] = ends(points.map(([lng]) => lng / 360 + 0.5));
  const [north, south] = ends(points.map(([, lat]) => 0.5 - mercator(lat)));
  const low = bottom + covered;
  const across = Math.min((width - left - right) / (east - west), (height - top - low) / (south - north));
  const zoom = Math.min(Math.log2(across / TILE_PX), FIT_MOST_ZOOM);
  const world = TILE_PX * 2 ** zoom;
  const z = Math.min(Math.floor(zoom), maxZoom);
  const x = span((east + west) / 2, (left + width - right) / 2, width);
  const y = span((south + north) / 2, (top + height - low) / 2, height);
  return x.flatMap((column) => y.map((row) => /** @type {[number, number, number]} */ ([z, column, row])));

  /** @param {number} middle of the world @param {number} at px @param {number} size px */
  function span(middle, at, size) {
    const first = Math.floor((middle - at / world) * 2 ** z);
    const last = Math.floor((middle + (size - at) / world) * 2 ** z);
    return Array.from({ length: last - first + 1 }, (_, n) => first + n);
  }
}

/** @param {number[]} values @returns {[least: number, most: number]} */
function ends(values) {
  return [Math.min(...values), Math.max(...values)];
}

/** @param {number} lat */
function mercator(lat) {
  return Math.asinh(Math.tan((lat * Math.PI) / 180)) / (2 * Math.PI);
}

/**
 * Return whether a tile and an area have a point in common.
 * @param {number[]} bounds
 * @param {[z: number, x: number, y: number]} tile
 */
export function covers([west, south, east, north], [z, x, y]) {
  const lng = (/** @type {number} */ at) => (at / 2 ** z) * 360 - 180;
  const lat = (/** @type {number} */ at) =>
    (Math.atan(Math.sinh(Math.PI * (1 - (2 * at) / 2 ** z))) * 180) / Math.PI;
  return lng(x) <= east && lng(x + 1) >= west && lat(y + 1) <= north && lat(y) >= south;
}

/**
 * Return the layers in drawing order.
 * @param {Tokens} tokens
 * @returns {any[]} layers of the style specification
 */
export function streetLayers(tokens) {
  const halo = { "text-halo-color": tokens["map-land"], "text-halo-width": 1.5 };
  const label = { "text-color": tokens["map-label"], ...halo };
  return [
    fill("greens", "landuse", tokens["map-park"], ["in", ["get", "kind"], ["literal", GREENS]]),
    fill("waters", "water", tokens["map-water"], ["==", ["geometry-type"], "Polygon"]),
    line("rivers", "water", tokens["map-water"], [0.8, 1.5, 4], {
      filter: ["==", ["geometry-type"], "LineString"],
    }),
    { ...fill("buildings", "buildings", tokens["map-building"]), minzoom: 14 },
    line("boundaries", "boundaries", tokens["map-border"], [1, 1, 1], { maxzoom: 12 }),
    line("rails", "roads", tokens["map-border"], [0.8, 1.2, 2], { filter: kindIn(["rail"]) }),
    line("paths", "roads", tokens["map-road"], [0.5, 1.2, 4], {
      filter: kindIn(["path"]),
      minzoom: 14,
    }),
    ...Object.entries(ROADS).map(([name, [kinds, minzoom, widths]]) =>
      line(`roads-${name}`, "roads", tokens["map-road"], widths, {
        filter: kindIn(kinds),
        minzoom,
      }),
    ),
    ...Object.entries(ROADS).map(([name, [kinds, minzoom]]) => ({
      id: `names-${name}`,
      type: "symbol",
      source: PROTOCOL,
      "source-layer": "roads",
      minzoom: Math.max(13, minzoom + 2),
      filter: kindIn(kinds),
      layout: {
        "symbol-placement": "line",
        "symbol-spacing": 400,
        "text-field": NAME,
        "text-font": FONT,
        "text-size": 11,
      },
      paint: label,
    })),
    {
      id: "names-places",
      type: "symbol",
      source: PROTOCOL,
      "source-layer": "places",
      filter: kindIn(["locality", "neighbourhood", "macrohood"]),
      layout: {
        "text-field": NAME,
        "text-font": FONT,
        "text-size": ["case", ["==", ["get", "kind"], "locality"], 14, 12],
        "text-max-width": 8,
        "symbol-sort-key": ["-", 0, ["coalesce", ["get", "population_rank"], 0]],
      },
      paint: label,
    },
  ];
}

const NAME = [
  "coalesce",
  ["get", `name:${globalThis.document?.documentElement.lang.slice(0, 2)}`],
  ["get", "name"],
  "",
];

/** @param {string[]} kinds */
function kindIn(kinds) {
  return ["in", ["get", "kind"], ["literal", kinds]];
}

/** @param {string} id @param {string} layer @param {string} colour @param {any[] | null} filter */
function fill(id, layer, colour, filter = null) {
  return {
    id: `streets-${id}`,
    type: "fill",
    source: PROTOCOL,
    "source-layer": layer,
    ...(filter && { filter }),
    paint: { "fill-color": colour },
  };
}

/**
 * @param {string} id
 * @param {string} layer
 * @param {string} colour
 * @param {number[]} widths at zooms 10, 14 and 18, px
 * @param {Record<string, any>} more
 */
function line(id, layer, colour, [far, near, close], more = {}) {
  const stops = [10, far, 14, near, 18, close];
  return {
    id: `streets-${id}`,
    type: "line",
    source: PROTOCOL,
    "source-layer": layer,
    layout: { "line-join": "round", "line-cap": "round" },
    paint: {
      "line-color": colour,
      "line-width": ["interpolate", ["exponential", 1.6], ["zoom"], ...stops],
    },
    ...more,
  };
}
