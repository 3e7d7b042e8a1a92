// The built-in base map: land, water and borders in two greys, without external files.

// From this zoom on water and borders fade out, because the outlines are accurate to some
// kilometres only and would put runners into the sea.
const FADE_FROM = 8;
export const FADE_TO = 10.5;

/**
 * @typedef {Record<string, string>} Tokens
 * @typedef {{land: import("geojson").GeoJSON, borders: import("geojson").GeoJSON}} Atlas
 * @typedef {import("maplibre-gl").StyleSpecification} Style
 */

/**
 * Return the colours of the map, from the tokens of the style sheet.
 * @returns {Tokens}
 */
export function readTokens() {
  const style = getComputedStyle(document.documentElement);
  const names = [
    "background", "surface", "line", "text", "muted", "accent", "stale",
    "map-land", "map-water", "map-border", "map-course", "map-casing", "map-halo",
    "map-road", "map-park", "map-building", "map-label",
  ];
  return Object.fromEntries(
    names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]),
  );
}

/**
 * Return a style with the outlines, or a plain one without them.
 * @param {Tokens} tokens
 * @param {Atlas | null} atlas
 * @returns {Style}
 */
export function outlineStyle(tokens, atlas) {
  const outlines = atlas ?? { land: empty(), borders: empty() };
  return {
    version: 8,
    sources: {
      land: {
        type: "geojson",
        data: outlines.land,
        attribution: "Made with Natural Earth",
        tolerance: 0.3,
      },
      borders: { type: "geojson", data: outlines.borders, tolerance: 0.3 },
    },
    layers: [
      { id: "water", type: "background", paint: waterPaint(tokens, atlas !== null) },
      { id: "land", type: "fill", source: "land", maxzoom: FADE_TO, paint: landPaint(tokens) },
      {
        id: "borders",
        type: "line",
        source: "borders",
        maxzoom: FADE_TO,
        layout: { "line-join": "round" },
        paint: borderPaint(tokens),
      },
    ],
  };
}

/**
 * Layers of the built-in base map to repaint when the theme changes.
 * @param {Tokens} tokens
 * @param {boolean} hasAtlas
 * @returns {Record<string, Record<string, any>>}
 */
export function outlinePaints(tokens, hasAtlas) {
  return {
    water: waterPaint(tokens, hasAtlas),
    land: landPaint(tokens),
    borders: borderPaint(tokens),
  };
}

/**
 * Fetch the outlines of the countries and convert them to GeoJSON.
 * @param {{atlas: string, topojson: string}} urls
 * @returns {Promise<Atlas>}
 */
export async function loadAtlas({ atlas, topojson }) {
  const [response] = await Promise.all([fetch(atlas), loadScript(topojson)]);
  if (!response.ok) throw new Error(`The outlines of the map: HTTP ${response.status}.`);
  const topology = await response.json();
  const { feature, mesh } = /** @type {any} */ (globalThis).topojson;
  const { land, countries } = topology.objects;
  return {
    land: unwrapped(feature(topology, land)),
    borders: {
      type: "Feature",
      properties: {},
      geometry: mesh(
        topology,
        countries,
        (/** @type {object} */ a, /** @type {object} */ b) => a !== b,
      ),
    },
  };
}

/**
 * Continue rings beyond the edge of the map where they cross the 180th meridian. The
 * outlines are made for a globe, and would jump to the other edge of a flat map.
 * @param {any} collection of polygons
 */
function unwrapped(collection) {
  for (const { geometry } of collection.features ?? [collection]) {
    const polygons =
      geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
    for (const ring of polygons.flat()) unwrapRing(ring);
  }
  return collection;
}

/** @param {number[][]} ring */
function unwrapRing(ring) {
  const turns = [0];
  for (let at = 1; at < ring.length; at += 1) {
    const step = ring[at][0] - ring[at - 1][0];
    turns.push(turns[at - 1] - (Math.abs(step) > 180 ? Math.sign(step) : 0));
  }
  if (turns[turns.length - 1] !== 0) return; // around a pole
  ring.forEach((place, at) => {
    if (turns[at]) ring[at] = [place[0] + 360 * turns[at], place[1]];
  });
}

/** @param {Tokens} tokens @param {boolean} hasAtlas @returns {any} */
function waterPaint(tokens, hasAtlas) {
  const { "map-land": land, "map-water": water } = tokens;
  return {
    "background-color": hasAtlas
      ? ["interpolate", ["linear"], ["zoom"], FADE_FROM, water, FADE_TO, land]
      : land,
  };
}

/** @param {Tokens} tokens @returns {any} */
function landPaint(tokens) {
  return { "fill-color": tokens["map-land"] };
}

/** @param {Tokens} tokens @returns {any} */
function borderPaint(tokens) {
  return {
    "line-color": tokens["map-border"],
    "line-width": ["interpolate", ["linear"], ["zoom"], 2, 0.6, 8, 1.4],
    "line-opacity": ["interpolate", ["linear"], ["zoom"], FADE_FROM, 1, FADE_TO, 0],
  };
}

/** @returns {import("geojson").FeatureCollection} */
function empty() {
  return { type: "FeatureCollection", features: [] };
}

// The library is a classic script, not a module.
/** @param {string} src */
function loadScript(src) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = src;
    script.onload = resolve;
    script.onerror = () => reject(new Error("The outlines of the map did not load."));
    document.head.append(script);
  });
}
