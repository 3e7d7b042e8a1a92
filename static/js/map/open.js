// Opens the map of a live page with a base map that is available.

import { isImperial, onChoice } from "../choices.js";
import { gettext } from "../language.js";
import { LiveMap } from "./map.js";
import { loadAtlas, outlineStyle, readTokens } from "./style.js";

// How long an external style may take before the built-in one replaces it.
const STYLE_WAIT_MS = 8000;

/**
 * @typedef {import("maplibre-gl").Map} Library
 * @typedef {Record<"library" | "worker" | "css" | "topojson" | "atlas" | "style", string>} Config
 */

/**
 * Open the map. Throws if this browser or installation cannot show one.
 * @param {Config} config URLs
 * @param {import("./map.js").Options} options
 */
export async function createMap(config, options) {
  if (!document.createElement("canvas").getContext("webgl2")) {
    throw new Error("This browser has no WebGL 2, which the map is drawn with.");
  }
  loadSheet(config.css);
  const [library, base] = await Promise.all([import(config.library), loadBase(config)]);
  // A worker from this server instead of a string, as a strict policy requires.
  library.setWorkerUrl(new URL(config.worker, location.href).href);
  /** @type {Library} */
  const map = new library.Map({
    container: "map",
    style: base.style,
    center: [0, 30],
    zoom: 1,
    attributionControl: false,
    maxPitch: 0,
    canvasContextAttributes: { antialias: true },
    fadeDuration: 0,
    // Set the accessible name of the map.
    locale: { "Map.Title": gettext("Map") },
  });
  // Without a listener the error would be logged to the console.
  map.on("error", ({ error }) => console.info(`Map: ${error.message}`));
  map.addControl(new library.AttributionControl({ compact: false }), "bottom-left");
  const scale = new library.ScaleControl({ maxWidth: 80, unit: units() });
  map.addControl(scale, "bottom-left");
  onChoice(() => scale.setUnit(units()));
  // Two fingers zoom. They would mostly rotate by accident.
  map.touchZoomRotate.disableRotation();
  let { isOurs } = base;
  if (!(await styleLoaded(map, !isOurs))) {
    map.setStyle(outlineStyle(readTokens(), null), { diff: false });
    await styleLoaded(map, false);
    isOurs = true;
  }
  return new LiveMap(map, isOurs ? () => loadAtlas(config) : null, options);
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
  return { style: outlineStyle(readTokens(), null), isOurs: true };
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
