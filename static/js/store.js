// What we know about the runners. A fix is known by (runner, t).

import { decodePolyline } from "./polyline.js";
import { readFix } from "./protocol.js";

// How much of a runner's way is kept for the trail. ms.
export const TRAIL_SPAN = 5 * 60_000;

/**
 * `trail`: the last minutes, oldest first. `line`: the course. Metres, milliseconds.
 *
 * @typedef {import("./polyline.js").LngLat} LngLat
 * @typedef {import("./protocol.js").Fix} Fix
 * @typedef {import("./protocol.js").FixRow} FixRow
 * @typedef {[t: number, lng: number, lat: number]} TrailPoint
 * @typedef {{
 *   code: string, name: string, bib: string | null, colour: string,
 *   state: string | null, race: string | null, fix: Fix | null, trail: TrailPoint[],
 * }} Runner
 * @typedef {{name: string, kind: string, lat: number | null, lng: number | null}} Checkpoint
 * @typedef {{slug: string, line: LngLat[], length: number, checkpoints: Checkpoint[]}} Race
 */

/** The runners and races of this page, from the server's messages. */
export class Store {
  /** @type {Map<string, Runner>} */
  runners = new Map();
  /** @type {Map<string, Race>} */
  races = new Map();
  /** @type {Set<string> | null} */
  #listed = null; // codes of a connection's first snapshot, over all its parts

  /** @param {any[]} races as in a snapshot */
  constructor(races = []) {
    for (const race of races) this.races.set(race.slug, readRace(race));
  }

  /** A new socket: those its first snapshot does not have are gone. */
  begin() {
    this.#listed = new Set();
  }

  /**
   * Take a snapshot, or one part of it.
   *
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
   * Take the rows of a `positions` message.
   *
   * @param {[code: string, ...FixRow][]} rows
   */
  applyPositions(rows) {
    for (const [code, ...row] of rows) {
      const runner = this.runners.get(code) ?? this.#describe({ code });
      this.#move(runner, readFix(row));
    }
  }

  /**
   * Take points that arrived late: they fill the trail and move nothing.
   *
   * @param {string} code
   * @param {[t: number, lat: number, lng: number][]} rows
   */
  applyLate(code, rows) {
    const runner = this.runners.get(code);
    if (!runner) return;
    for (const [t, lat, lng] of rows) addToTrail(runner, t, lng, lat);
  }

  /**
   * Take an `event`; returns the runner who is gone for the visitor, if one is.
   *
   * @param {Record<string, any>} event
   */
  applyEvent(event) {
    const code = event.runner?.code ?? event.runner;
    if (event.kind === "runner" && event.change !== "removed") {
      const runner = this.#describe(event.runner);
      // Their positions were erased, or a place of theirs is hidden now.
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
      };
      this.runners.set(code, runner);
    }
    for (const key of ["name", "bib", "colour", "state", "race"]) {
      if (key in described) Object.assign(runner, { [key]: described[key] });
    }
    if (fix) {
      const newest = readFix(fix);
      if (trail) fillTrail(runner, decodePolyline(trail), newest.t);
      this.#move(runner, newest);
    }
    return runner;
  }

  /** @param {Runner} runner @param {Fix} fix */
  #move(runner, fix) {
    addToTrail(runner, fix.t, fix.lng, fix.lat);
    // The newest time wins: a marker never goes back.
    if (runner.fix === null || fix.t > runner.fix.t) {
      // Between two fixes with a progress the last one counts.
      fix.progress ??= runner.fix?.progress ?? null;
      runner.fix = fix;
    }
  }
}

/** @param {Record<string, any>} race @returns {Race} */
function readRace(race) {
  return {
    slug: race.slug,
    line: race.course?.line ? decodePolyline(race.course.line) : [],
    length: race.course?.length ?? 0,
    checkpoints: race.checkpoints ?? [],
  };
}

/**
 * Take a snapshot's trail. It has no times: its points stand evenly before the fix.
 *
 * @param {Runner} runner
 * @param {LngLat[]} line
 * @param {number} t
 */
function fillTrail(runner, line, t) {
  if (runner.trail.length || line.length < 2) return;
  const step = TRAIL_SPAN / line.length;
  runner.trail = line
    .slice(0, -1)
    .map(([lng, lat], index) => [
      Math.round(t - (line.length - 1 - index) * step),
      lng,
      lat,
    ]);
}

/** @param {Runner} runner @param {number} t @param {number} lng @param {number} lat */
function addToTrail(runner, t, lng, lat) {
  const { trail } = runner;
  let at = trail.length;
  while (at > 0 && trail[at - 1][0] > t) at -= 1;
  if (at > 0 && trail[at - 1][0] === t) return;
  trail.splice(at, 0, [t, lng, lat]);
  const oldest = trail[trail.length - 1][0] - TRAIL_SPAN;
  const keep = trail.findIndex(([time]) => time >= oldest);
  if (keep > 0) trail.splice(0, keep);
}
