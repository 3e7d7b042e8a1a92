// A race's course as map features: the line, its kilometre marks, checkpoints, start,
// finish.

import { gettext } from "../language.js";
import { metresBetween } from "../metres.js";

// A start and a finish within this distance share one label.
const SAME_PLACE_M = 60;
export const KILOMETRE_M = 1000;
// The width of a character of a label, and its distance from the point, px.
const CHARACTER_PX = 8;
const LABEL_GAP_PX = 12;

/**
 * @typedef {import("../polyline.js").LngLat} LngLat
 * @typedef {import("../store.js").Race} Race
 * @typedef {import("geojson").Feature<import("geojson").Point, Record<string, any>>} Mark
 * @typedef {import("geojson").FeatureCollection<import("geojson").Point, Record<string, any>>} Marks
 * @typedef {{name: string, at: LngLat}} Place
 */

/**
 * Return the course line of each race.
 * @param {Race[]} races
 */
export function courseLines(races) {
  return collection(
    races
      .filter(({ line }) => line.length > 1)
      .map(({ line, slug }) => ({
        type: "Feature",
        properties: { slug },
        geometry: { type: "LineString", coordinates: line },
      })),
  );
}

/**
 * Return kilometre or mile marks and the named points of each race, as points.
 * @param {Pick<Race, "line" | "length" | "checkpoints">[]} races
 * @param {number} [unit] m
 * @returns {Marks}
 */
export function courseMarks(races, unit = KILOMETRE_M) {
  return collection(
    races.flatMap((race) => {
      const named = places(race);
      return [...distances(race, unit).filter((mark) => !isAtAny(mark, named)), ...named];
    }),
  );
}

/**
 * Set on which side of its point each label has to be. Returns whether any has changed.
 * @param {Marks} marks
 * @param {(at: LngLat) => {left: number, right: number}} roomOf px beside a point
 */
export function labelsInView(marks, roomOf) {
  let changed = false;
  for (const { geometry, properties } of marks.features) {
    if (!properties.name) continue;
    const { left, right } = roomOf(/** @type {LngLat} */ (geometry.coordinates));
    const width = LABEL_GAP_PX + CHARACTER_PX * properties.name.length;
    const isOutside = left < 0 || right < 0;
    const side = isOutside ? "any" : right < width ? "left" : left < width ? "right" : "any";
    changed ||= side !== properties.side;
    properties.side = side;
  }
  return changed;
}

/**
 * Return the points of a line at each whole kilometre or mile, and the line's bearing there.
 * @param {LngLat[]} line
 * @param {number} length as measured, m; 0: as drawn
 * @param {number} [unit] m
 */
export function kilometrePoints(line, length, unit = KILOMETRE_M) {
  const steps = line.slice(1).map((point, index) => metresBetween(line[index], point));
  const drawn = steps.reduce((sum, step) => sum + step, 0);
  // The course may be certified. Its kilometres then differ from those of the drawn line.
  const kilometre = length > 0 ? (unit * drawn) / length : unit;
  /** @type {[kilometre: number, place: LngLat, bearing: number][]} */
  const points = [];
  let past = 0;
  steps.forEach((step, index) => {
    while (step > 0 && (points.length + 1) * kilometre < Math.min(past + step, drawn - 1)) {
      const share = ((points.length + 1) * kilometre - past) / step;
      const [from, to] = [line[index], line[index + 1]];
      points.push([
        points.length + 1,
        [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])],
        bearing(from, to),
      ]);
    }
    past += step;
  });
  return points;
}

/**
 * Return the direction from one point to the next on a map, in degrees from north.
 * @param {LngLat} from
 * @param {LngLat} to
 */
function bearing(from, to) {
  const east = (to[0] - from[0]) * Math.cos((to[1] * Math.PI) / 180);
  return (Math.atan2(east, to[1] - from[1]) * 180) / Math.PI;
}

/** @param {Pick<Race, "line" | "length">} race @param {number} unit */
function distances({ line, length }, unit) {
  return kilometrePoints(line, length, unit).map(([number, place, bearing]) =>
    point(place, {
      kilometre: String(number),
      bearing,
      every: number % 10 === 0 ? 10 : number % 5 === 0 ? 5 : 1,
    }),
  );
}

/** @param {Pick<Race, "line" | "checkpoints">} race */
function places({ line, checkpoints }) {
  /** @type {Place[]} */
  const places = checkpoints.flatMap(({ name, lat, lng }) =>
    lat === null || lng === null ? [] : [{ name, at: /** @type {LngLat} */ ([lng, lat]) }],
  );
  const kinds = new Set(checkpoints.map(({ kind }) => kind));
  if (line.length > 1) {
    if (!kinds.has("start")) places.unshift({ name: gettext("Start"), at: line[0] });
    if (!kinds.has("finish")) places.push({ name: gettext("Finish"), at: line[line.length - 1] });
  }
  return together(places).map(({ name, at }) => point(at, { name, side: "any" }));
}

/**
 * Merge points: on a loop the start is the finish, and on laps a checkpoint is repeated.
 * @param {Place[]} places
 */
function together(places) {
  /** @type {Place[]} */
  const kept = [];
  for (const place of places) {
    const same = kept.find(({ at }) => metresBetween(at, place.at) < SAME_PLACE_M);
    if (!same) kept.push({ ...place });
    else if (same.name !== place.name) same.name += ` · ${place.name}`;
  }
  return kept;
}

/**
 * Return whether a checkpoint is at a kilometre mark, which labels it already.
 * @param {Mark} mark
 * @param {Mark[]} marks
 */
function isAtAny({ geometry }, marks) {
  return marks.some(
    (mark) => metresBetween(mark.geometry.coordinates, geometry.coordinates) < SAME_PLACE_M,
  );
}

/** @param {LngLat} coordinates @param {Record<string, any>} properties @returns {Mark} */
function point(coordinates, properties) {
  return { type: "Feature", properties, geometry: { type: "Point", coordinates } };
}

/**
 * @template {import("geojson").Geometry} G
 * @param {import("geojson").Feature<G>[]} features
 * @returns {import("geojson").FeatureCollection<G, any>}
 */
function collection(features) {
  return { type: "FeatureCollection", features };
}
