// The way behind a runner, fading with its age.

import { TRAIL_SPAN } from "../store.js";

const FADES = 5; // parts of a trail, each fainter than the one before
const STRONGEST = 0.9;
// Beyond this many followed runners trails would be a scribble.
const MOST_TRAILS = 30;

/**
 * @typedef {import("../store.js").TrailPoint} TrailPoint
 * @typedef {{
 *   code: string, colour: string, fix: {t: number}, trail: TrailPoint[],
 * }} Trailed
 * @typedef {(code: string) => import("../polyline.js").LngLat} PlaceOf
 */

/**
 * Lines for the trails of runners, each up to where `place` has the marker.
 *
 * @param {Trailed[]} runners
 * @param {PlaceOf} place
 * @returns {import("geojson").FeatureCollection<import("geojson").LineString, {colour: string, opacity: number}>}
 */
export function trailLines(runners, place) {
  return {
    type: "FeatureCollection",
    features: runners.slice(0, MOST_TRAILS).flatMap((runner) => lines(runner, place)),
  };
}

/** @param {Trailed} runner @param {PlaceOf} place */
function lines({ code, colour, fix, trail }, place) {
  // The newest fix is where the marker is gliding to, not where it has been.
  const past = trail.filter(([t]) => t < fix.t);
  /** @type {TrailPoint[]} */
  const points = [...past, [fix.t, ...place(code)]];
  /** @type {import("geojson").Feature<import("geojson").LineString, {colour: string, opacity: number}>[]} */
  const features = [];
  for (let part = 0; part < FADES; part += 1) {
    const newest = fix.t - (part * TRAIL_SPAN) / FADES;
    const oldest = newest - TRAIL_SPAN / FADES;
    const inside = points.filter(([t]) => t > oldest && t <= newest);
    // One point of the older part, so that the parts join.
    const [before] = points.filter(([t]) => t <= oldest).slice(-1);
    const line = before ? [before, ...inside] : inside;
    if (line.length < 2) continue;
    features.push({
      type: "Feature",
      properties: { colour, opacity: STRONGEST * (1 - part / FADES) },
      geometry: { type: "LineString", coordinates: line.map(([, lng, lat]) => [lng, lat]) },
    });
  }
  return features;
}
