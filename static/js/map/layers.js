// The layers over any base map: course, trails, crowd and followed runners.

// Fonts of the visitor's system, because the style has no glyph server.
export const FONT = ["system-ui", "sans-serif"];
// Fewer marks at low zoom: [distance between marks in km, from this zoom on].
const KILOMETRES = [
  [10, 8],
  [5, 10.5],
  [1, 12.5],
];
const BOLD = ["system-ui", "sans-serif", "bold"];
// The anchors of labels on any side of a checkpoint, to the left and to the right of it,
// tried in order.
const LABEL_SIDES = [
  ["checkpoint-labels", "any", ["left", "right", "top", "bottom"]],
  ["checkpoint-labels-left", "left", ["right", "top", "bottom"]],
  ["checkpoint-labels-right", "right", ["left", "top", "bottom"]],
];

/** @type {Record<string, import("maplibre-gl").GeoJSONSourceSpecification>} */
export const SOURCES = {
  course: { type: "geojson", data: empty(), tolerance: 0.1 },
  marks: { type: "geojson", data: empty() },
  ranges: { type: "geojson", data: empty() },
  probable: { type: "geojson", data: empty() },
  trails: { type: "geojson", data: empty() },
  heads: { type: "geojson", data: empty() },
  pin: { type: "geojson", data: empty() },
  crowd: {
    type: "geojson",
    data: empty(),
    promoteId: "code",
    // Only large clusters become a number, because visitors look for single runners.
    cluster: true,
    clusterRadius: 18,
    clusterMinPoints: 6,
    clusterMaxZoom: 15,
  },
  followed: { type: "geojson", data: empty(), promoteId: "code" },
};

/** Layers in which a runner can be selected. */
export const PICKABLE = ["crowd", "followed"];
export const CLUSTERS = "crowd-clusters";

/**
 * Return the layers in drawing order.
 * @param {import("./style.js").Tokens} tokens
 * @returns {any[]} layers of the style specification
 */
export function layers(tokens) {
  const fresh = ["match", ["get", "state"], ["stale", "lost", "estimated"], false, true];
  const running = ["match", ["get", "state"], ["stale", "lost", "estimated", "finished"], false, true];
  const rim = ["match", ["get", "state"], "estimated", ["get", "colour"], tokens.stale];
  const certainty = ["case", ["get", "predicted"], 0.6, 1];
  const halo = { "text-halo-color": tokens["map-casing"], "text-halo-width": 1.5 };
  // Names are read over the discs of runners below them.
  const wideHalo = { ...halo, "text-halo-width": 2.5 };
  return [
    {
      id: "course-casing",
      type: "line",
      source: "course",
      layout: { "line-join": "round", "line-cap": "round" },
      paint: { "line-color": tokens["map-casing"], "line-width": 9 },
    },
    {
      id: "course",
      type: "line",
      source: "course",
      layout: { "line-join": "round", "line-cap": "round" },
      paint: { "line-color": tokens["map-course"], "line-width": 5 },
    },
    {
      // The places where an uncertain runner may be.
      id: "ranges",
      type: "line",
      source: "ranges",
      layout: { "line-join": "round", "line-cap": "round" },
      paint: { "line-color": ["get", "colour"], "line-width": 13, "line-opacity": 0.35 },
    },
    {
      id: "probable-ranges",
      type: "line",
      source: "probable",
      filter: ["==", ["geometry-type"], "LineString"],
      layout: { "line-join": "round" },
      paint: { "line-color": ["get", "colour"], "line-width": 9, "line-dasharray": [0.6, 0.6] },
    },
    {
      id: "trails",
      type: "line",
      source: "trails",
      layout: { "line-join": "round", "line-cap": "butt" },
      paint: {
        "line-color": ["get", "colour"],
        "line-width": 5,
        "line-opacity": ["get", "opacity"],
      },
    },
    {
      id: "ways",
      type: "line",
      source: "heads",
      filter: ["==", ["get", "kind"], "way"],
      layout: { "line-join": "round", "line-cap": "round" },
      paint: {
        "line-color": ["get", "colour"],
        "line-width": 5,
        "line-opacity": ["get", "opacity"],
      },
    },
    {
      // The predicted part is dotted.
      id: "leads",
      type: "line",
      source: "heads",
      filter: ["==", ["get", "kind"], "lead"],
      layout: { "line-cap": "round" },
      paint: {
        "line-color": ["get", "colour"],
        "line-width": 4,
        "line-dasharray": [0.01, 1.8],
      },
    },
    ...KILOMETRES.map(([every, minzoom]) => ({
      id: `kilometres-${every}`,
      type: "symbol",
      source: "marks",
      minzoom,
      filter: ["==", ["get", "every"], every],
      layout: {
        "icon-image": "tick",
        "icon-rotate": ["get", "bearing"],
        "icon-rotation-alignment": "map",
        "icon-allow-overlap": true,
        "icon-ignore-placement": true,
      },
    })),
    {
      id: "checkpoints",
      type: "circle",
      source: "marks",
      filter: ["has", "name"],
      paint: {
        "circle-radius": 6,
        "circle-color": tokens["map-casing"],
        "circle-stroke-color": tokens["map-course"],
        "circle-stroke-width": 3,
      },
    },
    {
      id: "crowd",
      type: "circle",
      source: "crowd",
      filter: ["!", ["has", "point_count"]],
      paint: {
        "circle-radius": 5,
        "circle-color": ["case", fresh, ["get", "colour"], tokens.surface],
        "circle-stroke-color": ["case", fresh, tokens["map-halo"], rim],
        "circle-stroke-width": 1.5,
      },
    },
    ...KILOMETRES.map(([every, minzoom]) => ({
      id: `kilometre-labels-${every}`,
      type: "symbol",
      source: "marks",
      minzoom,
      filter: ["==", ["get", "every"], every],
      layout: {
        "text-field": ["get", "kilometre"],
        "text-font": FONT,
        "text-size": 12,
        "text-variable-anchor": ["left", "right", "top", "bottom"],
        "text-radial-offset": 0.8,
      },
      paint: { "text-color": tokens.muted, ...halo },
    })),
    {
      id: "crowd-labels",
      type: "symbol",
      source: "crowd",
      minzoom: 12,
      filter: ["!", ["has", "point_count"]],
      layout: {
        "text-field": ["get", "label"],
        "text-font": FONT,
        "text-size": 12,
        "text-variable-anchor": ["left", "right", "bottom", "top"],
        "text-radial-offset": 0.7,
      },
      paint: { "text-color": tokens.text, ...halo },
    },
    // Labels of later layers are placed first: places before bibs, bibs before distances.
    ...LABEL_SIDES.map(([id, side, anchors]) => ({
      id,
      type: "symbol",
      source: "marks",
      filter: ["all", ["has", "name"], ["==", ["get", "side"], side]],
      layout: {
        "text-field": ["get", "name"],
        "text-font": BOLD,
        "text-size": 13,
        "text-variable-anchor": anchors,
        "text-radial-offset": 0.9,
        "text-justify": "auto",
        "text-optional": true,
      },
      paint: { "text-color": tokens.text, ...wideHalo },
    })),
    {
      id: CLUSTERS,
      type: "symbol",
      source: "crowd",
      filter: ["has", "point_count"],
      layout: {
        "icon-image": "heap",
        "icon-size": ["step", ["get", "point_count"], 1, 20, 1.25, 100, 1.6],
        "icon-allow-overlap": true,
        "text-field": ["get", "point_count_abbreviated"],
        "text-font": BOLD,
        "text-size": 12,
        "text-allow-overlap": true,
        // Keeps other labels away from the square.
        "text-padding": 7,
      },
      paint: { "text-color": tokens.text },
    },
    {
      id: "pin",
      type: "circle",
      source: "pin",
      paint: {
        "circle-radius": 9,
        "circle-color": tokens.accent,
        "circle-stroke-color": tokens["map-halo"],
        "circle-stroke-width": 3,
      },
    },
    {
      // The runner is within this circle, which has the same size on the ground at every
      // zoom.
      id: "rings",
      type: "circle",
      source: "followed",
      filter: [">", ["get", "ring"], 0],
      paint: {
        "circle-radius": [
          "interpolate", ["exponential", 2], ["zoom"],
          0, ["get", "ring"],
          22, ["*", 2 ** 22, ["get", "ring"]],
        ],
        "circle-color": ["case", fresh, ["get", "colour"], tokens.stale],
        "circle-opacity": 0.15,
        "circle-stroke-color": ["case", fresh, ["get", "colour"], tokens.stale],
        "circle-stroke-width": 1.5,
        "circle-stroke-opacity": 0.7,
      },
    },
    {
      id: "probable",
      type: "symbol",
      source: "probable",
      filter: ["==", ["geometry-type"], "Point"],
      layout: { "icon-image": ["get", "disc"], "icon-allow-overlap": true },
    },
    {
      id: "headings",
      type: "symbol",
      source: "followed",
      filter: ["all", running, ["!=", ["get", "heading"], null]],
      layout: {
        "icon-image": ["concat", "wedge ", ["get", "colour"]],
        "icon-rotate": ["get", "heading"],
        "icon-rotation-alignment": "map",
        "icon-allow-overlap": true,
        "icon-ignore-placement": true,
      },
      paint: { "icon-opacity": certainty },
    },
    {
      id: "followed",
      type: "symbol",
      source: "followed",
      layout: {
        "icon-image": ["get", "disc"],
        "icon-allow-overlap": true,
        "symbol-sort-key": ["case", ["get", "selected"], 0, 1],
        "text-field": [
          "step",
          ["zoom"],
          ["case", ["get", "selected"], ["get", "caption"], ["get", "age"]],
          13,
          ["get", "caption"],
        ],
        "text-font": BOLD,
        "text-size": 13,
        "text-variable-anchor": ["top", "left", "right", "bottom"],
        "text-radial-offset": 1.6,
        "text-justify": "auto",
        "text-optional": true,
      },
      paint: { "text-color": tokens.text, ...wideHalo, "icon-opacity": certainty },
    },
  ];
}

/** @returns {import("geojson").FeatureCollection} */
function empty() {
  return { type: "FeatureCollection", features: [] };
}
