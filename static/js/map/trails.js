// The way behind a runner, fading with its age.

import { TRAIL_SPAN } from "../store.js";
import { metresBetween } from "./course.js";

const FADES = 5; // parts of a trail, each fainter than the one before
const STRONGEST = 0.9;
// Two places this far apart were not run between, but missed. m.
const GAP = 300;
// Beyond this many followed runners trails would be a scribble.
const MOST_TRAILS = 30;

/**
 * @typedef {import("../store.js").TrailPoint} TrailPoint
 * @typedef {{
 *   code: string, colour: string, fix: {t: number}, trail: TrailPoint[],
 * }} Trailed
 * @typedef {import("../polyline.js").LngLat} LngLat
 * @typedef {(code: string) => LngLat} PlaceOf
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
    for (const line of unbroken(before ? [before, ...inside] : inside)) {
      features.push({
        type: "Feature",
        properties: { colour, opacity: STRONGEST * (1 - part / FADES) },
        geometry: { type: "LineString", coordinates: line },
      });
    }
  }
  return features;
}

/**
 * The lines between the gaps.
 *
 * @param {TrailPoint[]} points
 */
function unbroken(points) {
  /** @type {LngLat[][]} */
  const lines = [];
  for (const [, lng, lat] of points) {
    const line = lines[lines.length - 1];
    const last = line?.[line.length - 1];
    if (last && metresBetween(last, [lng, lat]) < GAP) line.push([lng, lat]);
    else lines.push([[lng, lat]]);
  }
  return lines.filter((line) => line.length > 1);
}
