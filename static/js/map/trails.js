// The trail behind a runner, which fades with age, and the places where an uncertain
// runner may be.

import { reach } from "../format.js";
import { metresBetween } from "../metres.js";
import { TRAIL_SPAN_MS } from "../store.js";

const FADES = 5; // parts of a trail, each fainter than the one before
const STRONGEST = 0.9;
// Two positions this far apart are not connected.
const GAP_M = 300;
// With more followed runners the trails would be unreadable.
const MOST_TRAILS = 30;

/**
 * @typedef {import("../store.js").TrailPoint} TrailPoint
 * @typedef {{
 *   code: string, colour: string, fix: {t: number}, trail: TrailPoint[],
 *   estimated?: import("../estimate.js").Estimated,
 * }} Trailed
 * @typedef {import("../polyline.js").LngLat} LngLat
 * @typedef {import("./motion.js").Shown} Shown
 * @typedef {import("geojson").FeatureCollection<
 *   import("geojson").LineString, {colour: string, opacity?: number, kind?: string}
 * >} Lines
 */

/**
 * Return the runners whose trails are drawn.
 * @template T
 * @param {T[]} runners
 */
export function trailed(runners) {
  return runners.slice(0, MOST_TRAILS);
}

/**
 * Return lines for the trails of runners, each up to the last fix before a time, so that
 * they need not be redrawn for every frame.
 * @param {Trailed[]} runners
 * @param {(code: string) => number} until
 * @returns {Lines}
 */
export function trailLines(runners, until) {
  return {
    type: "FeatureCollection",
    features: trailed(runners).flatMap((runner) => lines(runner, until(runner.code))),
  };
}

/**
 * Return the line from the end of a trail to the marker, dotted where it is predicted.
 * @param {Trailed[]} runners
 * @param {(code: string) => number} until as in `trailLines`
 * @param {(code: string) => Shown} shownOf
 * @returns {Lines}
 */
export function headLines(runners, until, shownOf) {
  /** @type {Lines["features"]} */
  const features = [];
  for (const { code, colour, trail } of trailed(runners)) {
    const { at, time, predicted, from } = shownOf(code);
    const before = lastBefore(trail, until(code));
    const way = trail.filter(([t]) => t > until(code) && t < time);
    /** @type {TrailPoint[]} */
    const points = [...(before ? [before] : []), ...way, [time, ...from, null]];
    for (const coordinates of unbroken(points)) {
      features.push(line(coordinates, { colour, kind: "way", opacity: STRONGEST }));
    }
    if (predicted) features.push(line([from, at], { colour, kind: "lead" }));
  }
  return { type: "FeatureCollection", features };
}

/**
 * Return the parts of the course on which uncertain runners may be.
 * @param {import("./map.js").Positioned[]} runners
 * @param {(runner: import("./map.js").Positioned) => import("../along.js").Along | null} alongOf
 * @returns {Lines}
 */
export function rangeLines(runners, alongOf) {
  /** @type {Lines["features"]} */
  const features = [];
  for (const runner of runners) {
    const [along, { progress, uncertainty }] = [alongOf(runner), runner.fix];
    const error = reach(uncertainty);
    if (!along || progress === null || !error) continue;
    const [from, to] = [Math.max(0, progress - error), Math.min(along.length, progress + error)];
    features.push(line(along.between(from, to), { colour: runner.colour }));
  }
  return { type: "FeatureCollection", features };
}

/**
 * Return where silent runners probably are: a point and the range along the course.
 * @template {Trailed} T
 * @param {T[]} runners
 * @param {(runner: T) => import("../along.js").Along | null} alongOf
 * @param {(runner: T) => {progress: number, from: number, to: number} | null} probable m
 * @param {(runner: T) => string} discOf the name of the image
 * @returns {import("geojson").FeatureCollection}
 */
export function probablePlaces(runners, alongOf, probable, discOf) {
  /** @type {import("geojson").Feature[]} */
  const features = [];
  for (const runner of runners) {
    const [along, place] = [alongOf(runner), probable(runner)];
    if (!along || !place) continue;
    const { colour } = runner;
    features.push(line(along.between(place.from, place.to), { colour }));
    // Their own disc is there already.
    if (runner.estimated) continue;
    features.push({
      type: "Feature",
      properties: { disc: discOf(runner) },
      geometry: { type: "Point", coordinates: along.place(place.progress) },
    });
  }
  return { type: "FeatureCollection", features };
}

/** @param {Trailed} runner @param {number} until */
function lines({ colour, fix, trail }, until) {
  const points = trail.filter(([t]) => t <= until);
  /** @type {Lines["features"]} */
  const features = [];
  for (let part = 0; part < FADES; part += 1) {
    const newest = fix.t - (part * TRAIL_SPAN_MS) / FADES;
    const oldest = newest - TRAIL_SPAN_MS / FADES;
    const inside = points.filter(([t]) => t > oldest && t <= newest);
    // Repeat one point of the older part, so that the parts join.
    const before = lastBefore(points, oldest);
    for (const coordinates of unbroken(before ? [before, ...inside] : inside)) {
      const opacity = STRONGEST * (1 - part / FADES);
      features.push(line(coordinates, { colour, opacity }));
    }
  }
  return features;
}

/** @param {TrailPoint[]} trail @param {number} time */
function lastBefore(trail, time) {
  return trail.filter(([t]) => t <= time).pop();
}

/**
 * @param {LngLat[]} coordinates
 * @param {{colour: string, opacity?: number, kind?: string}} properties
 * @returns {Lines["features"][0]}
 */
function line(coordinates, properties) {
  return { type: "Feature", properties, geometry: { type: "LineString", coordinates } };
}

/**
 * Return the lines between the gaps.
 * @param {TrailPoint[]} points
 */
function unbroken(points) {
  /** @type {LngLat[][]} */
  const lines = [];
  for (const [, lng, lat] of points) {
    const line = lines[lines.length - 1];
    const last = line?.[line.length - 1];
    if (last && metresBetween(last, [lng, lat]) < GAP_M) line.push([lng, lat]);
    else lines.push([[lng, lat]]);
  }
  return lines.filter((line) => line.length > 1);
}
