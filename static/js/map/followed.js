// Followed and selected runners, drawn as gliding discs with trails and accuracy rings.

import { age, label } from "../format.js";
import { gettext } from "../language.js";
import { dataState } from "../liveness.js";
import { isElsewhere, PointDiff } from "./diff.js";
import { addDisc, removeDiscs } from "./discs.js";
import { Motion } from "./motion.js";
import { headLines, probablePlaces, rangeLines, trailLines } from "./trails.js";

// Smaller moves are not visible, and each costs a new picture.
const VISIBLE_PX = 1 / 3;
const TILE_PX = 512; // the world's width at zoom 0
// Less accurate positions have a ring.
const UNSURE_M = 20;
const METRES_PER_PIXEL = 78_271.517; // at the equator, zoom 0

/**
 * @typedef {import("../polyline.js").LngLat} LngLat
 * @typedef {import("./map.js").Positioned} Positioned
 * @typedef {import("./motion.js").Shown} Shown
 * @typedef {{
 *   now: number, selected: string | null, isExact: boolean,
 *   alongOf: (runner: Positioned) => import("../along.js").Along | null,
 *   finish: (runner: Positioned) => string,
 *   probable: (runner: Positioned) => import("../arrivals.js").Probable | null,
 * }} View `isExact`: where they are, no gliding
 */

/** Draws the discs, frame by frame. */
export class Followed {
  #map;
  #clock;
  #onDrawn;
  #tokens;
  #diff = new PointDiff();
  #motion = new Motion();
  /** @type {Map<string, number>} up to when each trail is drawn, by code */
  #trailedTo = new Map();
  /** @type {Map<string, string>} the data of sources, by id */
  #sent = new Map();
  /** @type {Positioned[]} */
  #runners = [];
  /** @type {View} */
  #view = {
    now: 0, selected: null, isExact: false, alongOf: () => null, probable: () => null,
    finish: () => "",
  };
  #isPaused = false;
  #isDrawing = false;
  #isOld = false; // newer data than drawn are available

  /**
   * @param {import("maplibre-gl").Map} map
   * @param {import("./style.js").Tokens} tokens
   * @param {() => number} clock the server's time
   * @param {(shown: Map<string, Shown>) => void} onDrawn told where each stands
   */
  constructor(map, tokens, clock, onDrawn) {
    this.#map = map;
    this.#tokens = tokens;
    this.#clock = clock;
    this.#onDrawn = onDrawn;
  }

  /**
   * Show runners in their current state.
   * @param {Positioned[]} runners
   * @param {View} view
   */
  show(runners, view) {
    this.#runners = runners;
    this.#view = view;
    this.#motion.keep(new Set(runners.map(({ code }) => code)));
    for (const runner of runners) this.#motion.aim(runner, view.alongOf(runner), view.now);
    this.#showTrails();
    this.#setData("ranges", rangeLines(runners, view.alongOf));
    this.#setData("probable", this.#probable());
    this.#animate();
  }

  /** @param {boolean} isPaused */
  setPaused(isPaused) {
    this.#isPaused = isPaused;
  }

  /**
   * Repaint after a change of the theme between light and dark.
   * @param {import("./style.js").Tokens} tokens
   */
  repaint(tokens) {
    this.#tokens = tokens;
    removeDiscs(this.#map);
    this.#animate();
  }

  /** @param {string} id @returns {import("maplibre-gl").GeoJSONSource} */
  #source(id) {
    return /** @type {any} */ (this.#map.getSource(id));
  }

  // The page calls `show` every second. Each change of a source costs a new picture.
  /** @param {string} id @param {import("geojson").GeoJSON} data */
  #setData(id, data) {
    const text = JSON.stringify(data);
    if (text === this.#sent.get(id)) return;
    this.#sent.set(id, text);
    this.#source(id).setData(data);
  }

  // A dashed disc and a dashed line where silent runners probably are.
  #probable() {
    const { alongOf, probable, selected } = this.#view;
    return probablePlaces(this.#runners, alongOf, probable, ({ code, colour, bib, name }) => {
      const disc = { colour, label: label({ bib, name }), isStale: true, isSelected: code === selected };
      return addDisc(this.#map, { ...disc, isDashed: true }, this.#tokens);
    });
  }

  // Drawn frame by frame while somebody moves. The next frame waits until the map has
  // drawn the last, so that slow machines keep up.
  async #animate() {
    this.#isOld = true;
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    try {
      do {
        this.#isOld = false;
        // Exactly at the end of the movement.
        await this.#draw(this.#isGliding ? 360 / (TILE_PX * 2 ** this.#map.getZoom()) : 0);
        await new Promise(requestAnimationFrame);
        if (!this.#isPaused && !this.#isGliding) await this.#draw(0);
        // While paused, a new frame would show a later position.
      } while (!this.#isPaused && (this.#isOld || this.#isGliding));
    } finally {
      this.#isDrawing = false;
    }
  }

  get #isGliding() {
    return !this.#isPaused && !this.#view.isExact && this.#motion.isMoving(this.#clock());
  }

  // Draw the discs at their current positions, with the lines from their trails. All are
  // drawn when one has moved visibly.
  /** @param {number} pixel degrees */
  async #draw(pixel) {
    const now = this.#isPaused ? this.#view.now : this.#clock();
    const shown = new Map(this.#runners.map((runner) => [runner.code, this.#shown(runner, now)]));
    const shownOf = (/** @type {string} */ code) => /** @type {Shown} */ (shown.get(code));
    const discs = this.#runners.map((runner) => this.#disc(runner, shownOf(runner.code)));
    const hasMoved = discs.some((disc) => {
      const sent = this.#diff.sent(disc.properties.code);
      return !sent || isFar(sent, disc, pixel * VISIBLE_PX);
    });
    const diff = this.#diff.to(discs, hasMoved ? isElsewhere : () => false);
    if (hasMoved) this.#onDrawn(shown);
    if (!diff) return;
    const heads = headLines(this.#runners, (code) => this.#trailEnd(code), shownOf);
    await Promise.all([
      this.#source("followed").updateData(diff),
      this.#source("heads").setData(heads),
    ]);
  }

  /** @param {Positioned} runner @param {number} now @returns {Shown} */
  #shown(runner, now) {
    if (!this.#view.isExact) return this.#motion.place(runner.code, now);
    /** @type {LngLat} */
    const at = [runner.fix.lng, runner.fix.lat];
    return { at, time: runner.fix.t, predicted: false, from: at };
  }

  #showTrails() {
    const now = this.#clock();
    this.#trailedTo = new Map(
      this.#runners.map((runner) => [runner.code, this.#shown(runner, now).time]),
    );
    this.#setData("trails", trailLines(this.#runners, (code) => this.#trailEnd(code)));
  }

  /** @param {string} code */
  #trailEnd(code) {
    return this.#trailedTo.get(code) ?? -Infinity;
  }

  /** @param {Positioned} runner @param {Shown} shown */
  #disc(runner, { at: [lng, lat], predicted }) {
    const { now, selected, finish } = this.#view;
    const state = dataState(runner, now);
    const isDashed = state === "estimated";
    const isStale = isDashed || ["stale", "lost"].includes(state);
    const isSelected = runner.code === selected;
    const disc = { colour: runner.colour, label: label(runner), isStale, isSelected, isDashed };
    const old = isDashed ? gettext("Estimated") : isStale ? age(now - runner.fix.t) : "";
    const properties = {
      code: runner.code,
      state,
      colour: runner.colour,
      disc: addDisc(this.#map, disc, this.#tokens),
      heading: runner.fix.heading,
      predicted,
      selected: isSelected,
      age: old,
      caption: [runner.name, old || finish(runner)].filter(Boolean).join("\n"),
      ring: ringOf(runner.accuracy, lat),
    };
    return { lng, lat, properties };
  }
}

/**
 * @param {{lng: number, lat: number}} from
 * @param {{lng: number, lat: number}} to
 * @param {number} step degrees
 */
function isFar(from, to, step) {
  const shrink = Math.cos((Math.PI / 180) * to.lat);
  return Math.abs(to.lng - from.lng) > step || Math.abs(to.lat - from.lat) > step * shrink;
}

/**
 * Return the radius of the ring around an inaccurate position in pixels at zoom 0, or 0.
 * @param {number | null} accuracy m
 * @param {number} lat
 */
export function ringOf(accuracy, lat) {
  if (accuracy === null || accuracy <= UNSURE_M) return 0;
  // Rounded to tenths of a degree, so that the image rarely changes.
  return accuracy / (METRES_PER_PIXEL * Math.cos((Math.PI / 1800) * Math.round(lat * 10)));
}
