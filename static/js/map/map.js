// The map of a live page: courses and runners.

import { isImperial } from "../choices.js";
import { find } from "../dom.js";
import { MILE_M } from "../format.js";
import { dataState } from "../liveness.js";
import { Anchored } from "./anchored.js";
import { Camera } from "./camera.js";
import { courseLines, courseMarks, KILOMETRE_M, labelsInView } from "./course.js";
import { Crowd } from "./crowd.js";
import { showImages } from "./discs.js";
import { layers, SOURCES } from "./layers.js";
import { readTokens } from "./style.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * `fitCourse`: fit the map to the course instead of the runners.
 * @typedef {import("maplibre-gl").Map} Library
 * @typedef {import("../polyline.js").LngLat} LngLat
 * @typedef {import("../store.js").Runner} Runner
 * @typedef {Runner & {fix: import("../protocol.js").Fix}} Positioned
 * @typedef {{
 *   fitCourse: boolean, oneRunner: string | null, onPick: (code: string) => void,
 *   onPlace: (place: LngLat, reach: number) => void, onCamera: (mode: string) => void,
 *   now: () => number,
 * }} Options `now`: the server's time; `reach`: what a finger may miss by, m
 * @typedef {{
 *   loadAtlas: () => Promise<import("./style.js").Atlas>, outlinesTo: number,
 *   paints: (tokens: import("./style.js").Tokens, hasAtlas: boolean) =>
 *     Record<string, Record<string, any>>,
 * }} Base `outlinesTo`: the zoom below which outlines are visible; `paints`: by layer
 * @typedef {{
 *   store: import("../store.js").Store, selected: string | null,
 *   follows: import("../follows.js").Follows, exactly?: boolean,
 *   probable?: (runner: Runner) => import("../arrivals.js").Probable | null,
 *   finish?: (runner: Runner) => string,
 * }} View `exactly`: where they are, no gliding; `probable`: of a silent runner;
 *   `finish`: the words for when
 */

/** The map once it is open. */
export class LiveMap {
  #map;
  #camera;
  #tokens = readTokens();
  #base;
  #hasAtlas = false;
  #options;
  #crowd;
  #callout;
  /** @type {import("./followed.js").Followed | null} */
  #followed = null;
  #isOpening = false; // the followed ones
  #isPaused = false;
  /** @type {(() => void) | null} shows those followed, as last asked */
  #showFollowed = null;
  /** @type {Positioned[]} */
  #positioned = [];
  /** @type {Positioned[]} those drawn with a disc: followed or selected */
  #big = [];
  #now = 0;
  /** @type {LngLat[]} all points of the courses */
  #courses = [];
  /** @type {string | null} what is drawn of them */
  #coursesOf = null;
  /** @type {import("./course.js").Marks | null} */
  #marks = null;
  #isReady = false;
  #hasFitted = false;
  #isFitted = false;

  /**
   * @param {Library} map
   * @param {Base | null} base null: the base map is not ours to paint
   * @param {Options} options
   */
  constructor(map, base, options) {
    this.#map = map;
    this.#base = base;
    this.#options = options;
    this.#camera = new Camera(map, options.onCamera);
    for (const [id, source] of Object.entries(SOURCES)) map.addSource(id, source);
    for (const layer of layers(this.#tokens)) map.addLayer(layer);
    showImages(map, this.#tokens);
    this.#crowd = new Crowd(map);
    this.#callout = new Anchored(map, find("#callout"));
    this.#openPointing();
    map.on("moveend", () => this.#showOutlines());
    map.on("moveend", () => this.#keepLabelsInView());
    find(".controls").addEventListener("transitionend", () => this.#keepLabelsInView());
    dark.addEventListener("change", () => this.#repaint());
    on("#fit", () => this.#fit());
    on("#mine-in-view", () => this.#keepMine());
    on("#north", () => this.#camera.north());
    on("#zoom-in", () => this.#camera.zoom(1));
    on("#zoom-out", () => this.#camera.zoom(-1));
  }

  /** MapLibre's own map, for tests. */
  get library() {
    return this.#map;
  }

  /**
   * Return whether the visitor has moved the map, which then does not move on its own.
   */
  get isFree() {
    return this.#camera.isFree;
  }

  /** Show all runners. */
  fit() {
    this.#fit();
  }

  /** Call a function when the first picture is complete. */
  ready() {
    this.#isReady = true;
  }

  // Land and borders are loaded at zooms where they are visible, because they are as
  // large as the rest of a race's page.
  async #showOutlines() {
    const base = this.#base;
    if (base === null || this.#hasAtlas || !this.#hasFitted) return;
    if (this.#map.getZoom() > base.outlinesTo) return;
    this.#hasAtlas = true;
    try {
      const { land, borders } = await base.loadAtlas();
      this.#source("land").setData(land);
      this.#source("borders").setData(borders);
      this.#repaint();
    } catch (error) {
      this.#hasAtlas = false;
      console.info(`${error}`);
    }
  }

  /**
   * Draw the runners in their current state.
   * @param {Runner[]} runners
   * @param {View} view
   */
  show(runners, {
    store, follows, selected, probable = () => null, finish = () => "", exactly = false,
  }) {
    this.#now = this.#options.now();
    this.#showCourses([...store.races.values()]);
    this.#positioned = runners.filter(hasFix);
    const isBig = (/** @type {Runner} */ { code }) => follows.has(code) || code === selected;
    this.#big = this.#positioned.filter(isBig);
    this.#crowd.show(this.#positioned.filter((runner) => !isBig(runner)), this.#now);
    const [big, now, isExact] = [this.#big, this.#now, exactly || still.matches];
    const alongOf = (/** @type {Positioned} */ runner) => store.courseOf(runner)?.along ?? null;
    if (big.length) this.#openFollowed();
    this.#showFollowed = () => this.#followed?.show(big, { now, selected, isExact, alongOf, probable, finish });
    this.#showFollowed();
    this.#chooseView();
  }

  // Load the parts that the first picture does not need.

  async #openPointing() {
    const { Pointing } = await import("./pointing.js");
    const { onPick, onPlace } = this.#options;
    new Pointing(this.#map, {
      onPick, onPlace, onHeap: (cluster, at) => this.#openHeap(cluster, at),
    });
  }

  async #openFollowed() {
    if (this.#isOpening) return;
    this.#isOpening = true;
    const { Followed } = await import("./followed.js");
    this.#followed = new Followed(this.#map, this.#tokens, this.#options.now, (shown) => {
      const tracked = shown.get(this.#camera.followed ?? "");
      if (tracked) this.#camera.track(tracked.at);
    });
    this.#followed.setPaused(this.#isPaused);
    this.#showFollowed?.();
  }

  /**
   * Follow the moves of a runner, or of none.
   * @param {string | null} code
   */
  follow(code) {
    const runner = this.#positioned.find((other) => other.code === code);
    this.#camera.follow(code, runner && placeOf(runner));
  }

  /**
   * Set the height of the sheet, which covers the lower edge.
   * @param {number} covered px
   */
  setCovered(covered) {
    this.#camera.setCovered(covered);
    this.#callout.setCovered(covered);
  }

  /** @param {boolean} isPaused */
  setPaused(isPaused) {
    this.#isPaused = isPaused;
    this.#followed?.setPaused(isPaused);
  }

  /** @param {string} id @returns {import("maplibre-gl").GeoJSONSource} */
  #source(id) {
    return /** @type {any} */ (this.#map.getSource(id));
  }

  /** @param {import("../store.js").Race[]} races */
  #showCourses(races) {
    const unit = isImperial() ? MILE_M : KILOMETRE_M;
    const wanted = [unit, ...races.map(({ slug, line }) => `${slug} ${line.length}`)].join();
    if (wanted === this.#coursesOf) return;
    this.#coursesOf = wanted;
    this.#source("course").setData(courseLines(races));
    this.#marks = courseMarks(races, unit);
    this.#source("marks").setData(this.#marks);
    this.#keepLabelsInView();
    this.#courses = races.flatMap(({ line }) => line);
  }

  // Labels are beside their checkpoints where neither the map's edge nor its buttons would
  // cut them off: the rest of "15 km" is "5 km".
  #keepLabelsInView() {
    if (!this.#marks) return;
    const { right } = this.#map.getContainer().getBoundingClientRect();
    const buttons = find(".controls").getBoundingClientRect();
    const changed = labelsInView(this.#marks, (at) => {
      const { x, y } = this.#map.project(at);
      const edge = y > buttons.top && y < buttons.bottom ? buttons.left : right;
      return { left: x, right: edge - x };
    });
    if (changed) this.#source("marks").setData(this.#marks);
  }

  // Choose the view once there is data, unless the visitor has moved the map.
  #chooseView() {
    if (this.#camera.keepsMine) this.#camera.keep(this.#big.map(placeOf));
    if (this.#isFitted || !this.#isReady) return;
    if (!this.#camera.isFree) this.#isFitted = this.#fit({ animate: false });
    // Before that the map shows the whole world, and stays there without anything to fit.
    this.#hasFitted = true;
    this.#showOutlines();
  }

  #fit({ animate = true } = {}) {
    const [only] = this.#options.oneRunner ? this.#positioned : [];
    if (only) {
      this.#camera.follow(only.code, placeOf(only));
      return true;
    }
    // Exclude runners lost hours ago and far away, who would shrink all others to dots.
    const seen = this.#positioned.filter((runner) => dataState(runner, this.#now) !== "lost");
    const places = (seen.length ? seen : this.#positioned).map(placeOf);
    const [first, other] = this.#options.fitCourse
      ? [this.#courses, places]
      : [places, this.#courses];
    const points = first.length ? first : other;
    this.#camera.fit(points, { animate });
    return points.length > 0;
  }

  /**
   * Set or remove a pin, with the callout.
   * @param {LngLat | null} place
   */
  pin(place) {
    this.#callout.show(place);
    this.#source("pin").setData({
      type: "FeatureCollection",
      features: place
        ? [{ type: "Feature", properties: {}, geometry: { type: "Point", coordinates: place } }]
        : [],
    });
  }

  // Keep all followed runners in view, or stop.
  #keepMine() {
    if (this.#camera.keepsMine) return this.#camera.release();
    this.#camera.keep(this.#big.map(placeOf));
  }

  /** @param {number} cluster @param {LngLat} at */
  async #openHeap(cluster, at) {
    const zoom = await this.#source("crowd").getClusterExpansionZoom(cluster).catch(() => null);
    if (zoom === null) return; // the state has changed meanwhile
    this.#camera.release();
    this.#map.easeTo({ center: at, zoom: zoom + 0.5 });
  }

  #repaint() {
    this.#tokens = readTokens();
    const ours = this.#base?.paints(this.#tokens, this.#hasAtlas) ?? {};
    for (const { id, paint } of layers(this.#tokens)) if (paint) ours[id] = paint;
    for (const [id, paint] of Object.entries(ours)) {
      for (const [name, value] of Object.entries(paint)) {
        this.#map.setPaintProperty(id, /** @type {any} */ (name), value);
      }
    }
    showImages(this.#map, this.#tokens);
    this.#followed?.repaint(this.#tokens);
  }
}

/** @param {Runner} runner @returns {runner is Positioned} */
function hasFix(runner) {
  return runner.fix !== null;
}

/** @param {Positioned} runner @returns {LngLat} */
function placeOf({ fix }) {
  return [fix.lng, fix.lat];
}

/** @param {string} selector @param {() => void} action */
function on(selector, action) {
  find(selector).addEventListener("click", () => action());
}
