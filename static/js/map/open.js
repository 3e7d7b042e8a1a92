// Opens the map of a live page with a base map that is available.

import { isImperial, onChoice } from "../choices.js";
import { gettext } from "../language.js";
import { LiveMap } from "./map.js";
import { OUTLINES_TO, serveTiles, streetLayers, streetSource } from "./streets.js";
import { FADE_TO, loadAtlas, outlinePaints, outlineStyle, readTokens } from "./style.js";

// How long an external style may take before the built-in one replaces it.
const STYLE_WAIT_MS = 8000;

/**
 * @typedef {import("maplibre-gl").Map} Library
 * @typedef {Record<"library" | "shared" | "worker" | "css" | "topojson" | "atlas" | "style", string> &
 *   {streets: import("./streets.js").Streets[]}} Config
 */

/**
 * Open the map. Throws if this browser or installation cannot show one.
 * @param {Config} config URLs
 * @param {import("./map.js").Options} options
 * @param {Record<string, string>} headers for requests of tiles
 */
export async function createMap(config, options, headers) {
  const { map, base } = await openBase(config, "map", headers);
  return new LiveMap(map, base, options);
}

/**
 * Open the library's map in an element. Throws if this browser or installation cannot
 * show one.
 * @param {Config} config URLs
 * @param {string} container the id of the element
 * @param {Record<string, string>} headers for requests of tiles
 * @returns {Promise<{map: Library, library: any, base: import("./map.js").Base | null}>}
 *   `base` is null if the map has a style that is not ours
 */
export async function openBase(config, container, headers) {
  if (!document.createElement("canvas").getContext("webgl2")) {
    throw new Error("This browser has no WebGL 2, which the map is drawn with.");
  }
  loadSheet(config.css);
  const [library, base] = await Promise.all([import(config.library), loadBase(config)]);
  // A worker from this server instead of a string, as a strict policy requires.
  library.setWorkerUrl(new URL(config.worker, location.href).href);
  if (base.isOurs && config.streets.length) serveTiles(library, config.streets, headers);
  /** @type {Library} */
  const map = new library.Map({
    container,
    style: base.style,
    center: [0, 30],
    zoom: 1,
    attributionControl: false,
    maxPitch: 0,
    fadeDuration: 0,
    // Set the accessible name of the map.
    locale: { "Map.Title": gettext("Map") },
  });
  // Without a listener the error would be logged to the console.
  map.on("error", (event) => {
    // Streets end somewhere.
    if (!("tile" in event)) console.info(`Map: ${event.error.message}`);
  });
  map.addControl(new library.AttributionControl({ compact: false }), "bottom-left");
  const scale = new library.ScaleControl({ maxWidth: 80, unit: units() });
  map.addControl(scale, "bottom-left");
  onChoice(() => scale.setUnit(units()));
  // Two fingers zoom. They would mostly rotate by accident.
  map.touchZoomRotate.disableRotation();
  let { isOurs } = base;
  if (!(await styleLoaded(map, !isOurs))) {
    map.setStyle(ownStyle([]), { diff: false });
    await styleLoaded(map, false);
    isOurs = true;
  }
  return { map, library, base: isOurs ? ownBase(config, base.isOurs) : null };
}

function units() {
  return isImperial() ? "imperial" : "metric";
}

/**
 * Load the library's style sheet, which would delay the list in the page's head. The map
 * does not wait for it, because only controls need it.
 * @param {string} href
 */
function loadSheet(href) {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = href;
  // Inserted before the page's own sheet, which overrides it.
  document.head.prepend(link);
}

/**
 * Return the installation's own style if it loads, else the outlines.
 * @param {Config} config
 */
async function loadBase(config) {
  if (config.style) {
    try {
      const response = await fetch(config.style, {
        signal: AbortSignal.timeout(STYLE_WAIT_MS),
      });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const style = await response.json();
      // All labels use local fonts, which need no server.
      delete style.glyphs;
      return { style, isOurs: false };
    } catch (error) {
      console.info(`The map style ${config.style} failed (${error}).`);
    }
  }
  return { style: ownStyle(config.streets), isOurs: true };
}

/**
 * Return the built-in style: streets, or the outlines where there are none.
 * @param {import("./streets.js").Streets[]} streets
 */
function ownStyle(streets) {
  const style = outlineStyle(readTokens(), null);
  if (streets.length) {
    style.sources.streets = streetSource(streets);
    style.layers.push(...streetLayers(readTokens()));
  }
  return style;
}

/**
 * Return what the map needs to repaint the built-in style.
 * @param {Config} config
 * @param {boolean} hasStreets
 * @returns {import("./map.js").Base}
 */
function ownBase(config, hasStreets) {
  const streets = hasStreets && config.streets.length > 0;
  return {
    loadAtlas: () => loadAtlas(config),
    outlinesTo: streets ? OUTLINES_TO : FADE_TO,
    paints: (tokens, hasAtlas) => ({
      ...outlinePaints(tokens, hasAtlas),
      ...(streets ? paintsOf(streetLayers(tokens)) : {}),
    }),
  };
}

/** @param {any[]} layers */
function paintsOf(layers) {
  return Object.fromEntries(layers.map(({ id, paint }) => [id, paint]));
}

/**
 * Wait until layers can be added, and return whether that succeeded.
 * @param {Library} map
 * @param {boolean} isForeign a style that may be none, or never come to an end
 */
async function styleLoaded(map, isForeign) {
  const loaded = map.once("style.load").then(() => true);
  if (!isForeign) return loaded;
  const late = new Promise((resolve) => setTimeout(resolve, STYLE_WAIT_MS, false));
  return Promise.race([loaded, late]);
}
