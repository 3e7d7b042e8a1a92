// Opens the map of a live page on a base map that works.

import { isImperial, onChoice } from "../choices.js";
import { gettext } from "../language.js";
import { LiveMap } from "./map.js";
import { loadAtlas, outlineStyle, readTokens } from "./style.js";

// How long an external style may take before ours replaces it.
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
  // A worker from our own address instead of a string, as a strict policy requires.
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
    // The accessible name of the map.
    locale: { "Map.Title": gettext("Map") },
  });
  // Without a listener the error would be logged to the console.
  map.on("error", ({ error }) => console.info(`Map: ${error.message}`));
  map.addControl(new library.AttributionControl({ compact: false }), "bottom-left");
  const scale = new library.ScaleControl({ maxWidth: 80, unit: units() });
  map.addControl(scale, "bottom-left");
  onChoice(() => scale.setUnit(units()));
  // Two fingers zoom; they would mostly rotate by accident.
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
 * The library's style sheet: in the page's head the list would wait for it too. The map
 * does not wait: without it, it is only less tidy.
 * @param {string} href
 */
function loadSheet(href) {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = href;
  // Before ours, which overrides it.
  document.head.prepend(link);
}

/**
 * The installation's own style if there is one and it loads, else the outlines.
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
      // All labels use local fonts: one server fewer to wait for.
      delete style.glyphs;
      return { style, isOurs: false };
    } catch (error) {
      console.info(`The map style ${config.style} failed (${error}).`);
    }
  }
  return { style: outlineStyle(readTokens(), null), isOurs: true };
}

/**
 * Wait until layers can be added; returns whether that succeeded.
 * @param {Library} map
 * @param {boolean} isForeign a style that may be none, or never come to an end
 */
async function styleLoaded(map, isForeign) {
  const loaded = map.once("style.load").then(() => true);
  if (!isForeign) return loaded;
  const late = new Promise((resolve) => setTimeout(resolve, STYLE_WAIT_MS, false));
  return Promise.race([loaded, late]);
}
