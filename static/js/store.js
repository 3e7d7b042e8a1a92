// The state of the runners. A runner and a time `t` identify a fix.

import { Along } from "./along.js";
import { checkpointName } from "./format.js";
import { decodePolyline } from "./polyline.js";
import { readFix } from "./protocol.js";

// How much of a runner's trail is kept.
export const TRAIL_SPAN_MS = 5 * 60_000;
// The same for trails that are not shown: thousands of trails would fill the memory.
const SHORT_SPAN_MS = 10_000;

// The fields that are copied from a runner's item.
const KEPT = ["name", "bib", "colour", "state", "race", "accuracy", "battery", "estimate"];

/**
 * `trail`: the last minutes, oldest first. `splits`: received passes of checkpoints, by
 * checkpoint and pass. `accuracy` and `battery` (per cent): the last received values.
 * `line`: the course. `estimated`: the fix is an estimated place (estimate.js). Metres and
 * milliseconds.
 * @typedef {import("./polyline.js").LngLat} LngLat
 * @typedef {import("./protocol.js").Fix} Fix
 * @typedef {import("./protocol.js").FixRow} FixRow
 * @typedef {[t: number, lng: number, lat: number, progress: number | null]} TrailPoint
 * @typedef {{
 *   checkpoint: number, distance: number, at: number, uncertainty: number,
 * }} Split
 * @typedef {{
 *   code: string, name: string, bib: string | null, colour: string,
 *   state: string | null, race: string | null, fix: Fix | null, trail: TrailPoint[],
 *   splits: Map<string, Split>, accuracy: number | null, battery: number | null,
 *   estimate: import("./estimate.js").Estimate | null,
 *   estimated?: import("./estimate.js").Estimated,
 * }} Runner
 * @typedef {{
 *   id: number, name: string, kind: string, distance: number,
 *   lat: number | null, lng: number | null,
 * }} Checkpoint
 * @typedef {{
 *   slug: string, name: string, ends: number, line: LngLat[], along: Along | null,
 *   length: number, checkpoints: Checkpoint[],
 * }} Race
 */

/** The runners and races of this page, from the server's messages. */
export class Store {
  /** @type {Map<string, Runner>} */
  runners = new Map();
  /** @type {Map<string, Race>} */
  races = new Map();
  /** @type {Set<string> | null} */
  #listed = null; // codes in a connection's first snapshot, over all its parts

  #hasTrail;

  /**
   * @param {any[]} races as in a snapshot
   * @param {(code: string) => boolean} hasTrail whose trail is looked at
   */
  constructor(races = [], hasTrail = () => true) {
    this.#hasTrail = hasTrail;
    for (const race of races) this.races.set(race.slug, readRace(race));
  }

  /** Handle a new socket: runners who are not in its first snapshot are removed. */
  begin() {
    this.#listed = new Set();
  }

  /**
   * Process a snapshot, or a part of one.
   * @param {Record<string, any>} snapshot
   */
  applySnapshot({ runners, races, more }) {
    for (const race of races ?? []) this.races.set(race.slug, readRace(race));
    for (const described of runners ?? []) {
      this.#listed?.add(described.code);
      this.#describe(described);
    }
    if (!more && this.#listed) {
      for (const code of this.runners.keys()) {
        if (!this.#listed.has(code)) this.runners.delete(code);
      }
      this.#listed = null;
    }
  }

  /**
   * Process the rows of a `positions` message.
   * @param {[code: string, ...FixRow][]} rows
   */
  applyPositions(rows) {
    for (const [code, ...row] of rows) {
      const runner = this.runners.get(code) ?? this.#describe({ code });
      this.#move(runner, readFix(row));
    }
  }

  /**
   * Process late points, which complete the trail and do not move the marker.
   * @param {string} code
   * @param {[t: number, lat: number, lng: number][]} rows
   */
  applyLate(code, rows) {
    const runner = this.runners.get(code);
    if (!runner) return;
    for (const [t, lat, lng] of rows) this.#addToTrail(runner, [t, lng, lat, null]);
  }

  /**
   * Process points of a runner's track.
   * @param {string} code
   * @param {import("./tracks.js").Points} points
   */
  applyTrack(code, points) {
    const oldest = (this.runners.get(code)?.fix?.t ?? 0) - TRAIL_SPAN_MS;
    this.applyLate(
      code,
      points.filter(([t]) => t >= oldest).map(([t, lat, lng]) => [t, lat, lng]),
    );
  }

  /**
   * Return the course of a runner, if it is known.
   * @param {Runner} runner
   */
  courseOf({ race }) {
    return race === null ? null : (this.races.get(race) ?? null);
  }

  /**
   * Process an `event`. Returns the runner who can no longer be seen, if any.
   * @param {Record<string, any>} event
   */
  applyEvent(event) {
    const code = event.runner?.code ?? event.runner;
    if (event.kind === "runner" && event.change !== "removed") {
      const runner = this.#describe(event.runner);
      // The runner has erased their positions, or hides a place now.
      if (event.runner.fix === null) Object.assign(runner, { fix: null, trail: [] });
    } else if (event.kind === "access" && event.race) {
      for (const runner of this.runners.values()) {
        if (runner.race === event.race) this.runners.delete(runner.code);
      }
    } else if (event.kind === "runner" || event.kind === "access") {
      const runner = this.runners.get(code) ?? null;
      this.runners.delete(code);
      return runner;
    } else if (event.kind === "state") {
      const runner = this.runners.get(code);
      if (runner) runner.state = event.state;
    } else if (event.kind === "phone") {
      const runner = this.runners.get(code);
      if (runner) Object.assign(runner, { accuracy: event.accuracy, battery: event.battery });
    } else if (event.kind === "split") {
      const split = /** @type {any} */ (event);
      const splits = this.runners.get(code)?.splits;
      const key = `${split.checkpoint} ${split.pass}`;
      if (split.withdrawn) splits?.delete(key);
      else splits?.set(key, split);
    }
    return null;
  }

  /** @param {Record<string, any>} described */
  #describe({ code, fix, trail, ...described }) {
    let runner = this.runners.get(code);
    if (!runner) {
      runner = {
        code,
        name: code,
        bib: null,
        colour: "#0072B2",
        state: null,
        race: null,
        fix: null,
        trail: [],
        splits: new Map(),
        accuracy: null,
        battery: null,
        estimate: null,
      };
      this.runners.set(code, runner);
    }
    for (const key of KEPT) {
      if (key in described) Object.assign(runner, { [key]: described[key] });
    }
    if (fix) {
      const newest = readFix(fix);
      if (trail) fillTrail(runner, decodePolyline(trail), newest.t);
      this.#move(runner, newest);
    }
    return runner;
  }

  /** @param {Runner} runner @param {TrailPoint} point */
  #addToTrail(runner, point) {
    addToTrail(runner.trail, point, this.#hasTrail(runner.code) ? TRAIL_SPAN_MS : SHORT_SPAN_MS);
  }

  /** @param {Runner} runner @param {Fix} fix */
  #move(runner, fix) {
    this.#addToTrail(runner, [fix.t, fix.lng, fix.lat, fix.progress]);
    // The newest time is kept: a marker never moves back.
    if (runner.fix === null || fix.t > runner.fix.t) {
      // Between two fixes with a progress, the later one counts.
      fix.progress ??= runner.fix?.progress ?? null;
      runner.fix = fix;
    }
  }
}

/** @param {Record<string, any>} race @returns {Race} */
function readRace(race) {
  const line = race.course?.line ? decodePolyline(race.course.line) : [];
  const length = race.course?.length ?? 0;
  return {
    slug: race.slug,
    name: race.name,
    ends: race.ends ?? Infinity,
    line,
    along: line.length > 1 ? new Along(line, length) : null,
    length,
    checkpoints: (race.checkpoints ?? []).map((/** @type {Checkpoint} */ point) => ({
      ...point, name: checkpointName(point.name),
    })),
  };
}

/**
 * Decode a snapshot's trail. It has no times, so its points are spread evenly before the
 * fix.
 * @param {Runner} runner
 * @param {LngLat[]} line
 * @param {number} t
 */
function fillTrail(runner, line, t) {
  if (runner.trail.length || line.length < 2) return;
  const step = TRAIL_SPAN_MS / line.length;
  runner.trail = line
    .slice(0, -1)
    .map(([lng, lat], index) => [
      Math.round(t - (line.length - 1 - index) * step),
      lng,
      lat,
      null,
    ]);
}

/** @param {TrailPoint[]} trail @param {TrailPoint} point @param {number} span ms */
function addToTrail(trail, point, span) {
  let at = trail.length;
  while (at > 0 && trail[at - 1][0] > point[0]) at -= 1;
  if (at > 0 && trail[at - 1][0] === point[0]) {
    // Live positions have a progress, tracks do not.
    trail[at - 1][3] ??= point[3];
    return;
  }
  trail.splice(at, 0, point);
  const oldest = trail[trail.length - 1][0] - span;
  const keep = trail.findIndex(([time]) => time >= oldest);
  if (keep > 0) trail.splice(0, keep);
}
