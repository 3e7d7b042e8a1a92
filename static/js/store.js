// What we know about the runners. A fix is known by (runner, t).

import { decodePolyline } from "./polyline.js";
import { readFix } from "./protocol.js";

// How much of a runner's way is kept for the trail. ms.
export const TRAIL_SPAN = 5 * 60_000;

/**
 * The runners and races of this page, from the server's messages.
 *
 * A runner is {code, name, bib, colour, state, race, fix, trail}: `fix` the newest
 * {t, lat, lng, speed, heading, progress} or null, `trail` [[t, lng, lat], …] of the
 * last minutes, oldest first. `version` grows with each change.
 */
export class Store {
  runners = new Map();
  races = new Map();
  version = 0;
  #listed = null; // codes of a connection's first snapshot, over all its parts

  constructor(races = []) {
    for (const race of races) this.races.set(race.slug, readRace(race));
  }

  /** A new socket: those its first snapshot does not have are gone. */
  begin() {
    this.#listed = new Set();
  }

  /** Take a snapshot, or one part of it. */
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
    this.version += 1;
  }

  /** Take the rows [code, t, lat, lng, …] of a `positions` message. */
  applyPositions(rows) {
    for (const [code, ...row] of rows) {
      const runner = this.runners.get(code) ?? this.#describe({ code });
      this.#move(runner, readFix(row));
    }
    if (rows.length) this.version += 1;
  }

  /** Take points that arrived late: they fill the trail and move nothing. */
  applyLate(code, rows) {
    const runner = this.runners.get(code);
    if (!runner) return;
    for (const [t, lat, lng] of rows) addToTrail(runner, t, lng, lat);
    this.version += 1;
  }

  /** Take an `event`; says which runner is gone for the visitor, if one is. */
  applyEvent(event) {
    this.version += 1;
    const code = event.runner?.code ?? event.runner;
    if (event.kind === "runner" && event.change !== "removed") {
      this.#describe(event.runner);
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
    for (const [key, value] of Object.entries(described)) {
      if (key in runner && value !== undefined) runner[key] = value;
    }
    if (fix) {
      const newest = readFix(fix);
      if (trail) fillTrail(runner, decodePolyline(trail), newest.t);
      this.#move(runner, newest);
    }
    return runner;
  }

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

function readRace(race) {
  return {
    ...race,
    line: race.course?.line ? decodePolyline(race.course.line) : [],
    length: race.course?.length ?? 0,
    checkpoints: race.checkpoints ?? [],
  };
}

// A snapshot's trail has no times: its points stand evenly before the newest fix.
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

function addToTrail(runner, t, lng, lat) {
  const { trail } = runner;
  let at = trail.length;
  while (at > 0 && trail[at - 1][0] > t) at -= 1;
  if (at > 0 && trail[at - 1][0] === t) return;
  trail.splice(at, 0, [t, lng, lat]);
  const oldest = trail.at(-1)[0] - TRAIL_SPAN;
  const keep = trail.findIndex(([time]) => time >= oldest);
  if (keep > 0) trail.splice(0, keep);
}
