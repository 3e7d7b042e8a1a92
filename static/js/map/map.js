// What a live page shows on its map: courses and runners.

import { find } from "../dom.js";
import { age, label } from "../format.js";
import { liveness } from "../liveness.js";
import { Camera } from "./camera.js";
import { courseLines, courseMarks } from "./course.js";
import { PointDiff } from "./diff.js";
import { addDisc, removeDiscs } from "./discs.js";
import { CLUSTERS, layers, PICKABLE, SOURCES } from "./layers.js";
import { Motion } from "./motion.js";
import { FADE_TO, outlinePaints, readTokens } from "./style.js";
import { headLines, trailLines } from "./trails.js";

// How far from a marker a finger still means it. px.
const REACH = 22;
// A finger that wants a place on the course need not hit its line. px.
const COURSE_REACH = 28;

const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * `fitCourse`: the course is the picture, not where the runners are.
 *
 * @typedef {import("maplibre-gl").Map} Library
 * @typedef {import("../polyline.js").LngLat} LngLat
 * @typedef {import("../store.js").Runner} Runner
 * @typedef {Runner & {fix: import("../protocol.js").Fix}} Placed
 * @typedef {{
 *   fitCourse: boolean, oneRunner: string | null, onPick: (code: string) => void,
 *   onPlace: (place: LngLat, reach: number) => void, onCamera: (mode: string) => void,
 *   now: () => number,
 * }} Options `now`: the server's time; `reach`: what a finger may miss by, m
 * @typedef {{
 *   store: import("../store.js").Store, selected: string | null,
 *   follows: import("../follows.js").Follows, exactly?: boolean,
 * }} View `exactly`: where they are, no gliding
 */

/** The map once it is open. */
export class LiveMap {
  #map;
  #camera;
  #tokens = readTokens();
  #loadAtlas;
  #hasAtlas = false;
  #options;
  #crowd = new PointDiff();
  #followed = new PointDiff();
  #motion = new Motion();
  /** @type {Map<string, number>} up to when each trail is drawn, by code */
  #trailedTo = new Map();
  /** @type {Placed[]} */
  #placed = [];
  /** @type {Placed[]} those drawn with a disc: followed or selected */
  #big = [];
  /** @type {string | null} */
  #selected = null;
  #now = 0;
  /** @type {LngLat[]} all points of the courses */
  #courses = [];
  /** @type {string | null} what is drawn of them */
  #coursesOf = null;
  #isReady = false;
  #isFitted = false;
  #isPaused = false;
  #isDrawing = false;
  #isOld = false; // there is something newer than what is being drawn
  #isExact = false;

  /**
   * @param {Library} map
   * @param {(() => Promise<import("./style.js").Atlas>) | null} loadAtlas null: the base
   *   map is not ours to paint
   * @param {Options} options
   */
  constructor(map, loadAtlas, options) {
    this.#map = map;
    this.#loadAtlas = loadAtlas;
    this.#options = options;
    this.#camera = new Camera(map, options.onCamera);
    for (const [id, source] of Object.entries(SOURCES)) map.addSource(id, source);
    for (const layer of layers(this.#tokens)) map.addLayer(layer);
    map.on("click", (event) => this.#click(event));
    for (const layer of [...PICKABLE, CLUSTERS]) {
      map.on("mouseenter", layer, () => this.#point(true));
      map.on("mouseleave", layer, () => this.#point(false));
    }
    map.on("moveend", () => this.#showOutlines());
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

  /** Whether the visitor has moved it: then it does not move by itself. */
  get isFree() {
    return this.#camera.isFree;
  }

  /** Show all. */
  fit() {
    this.#fit();
  }

  /** The first picture is complete: look at it. */
  ready() {
    this.#isReady = true;
  }

  // Land and borders, once somebody looks from so far that there is any to see: they are
  // as many bytes as all the rest of a race's page.
  async #showOutlines() {
    const load = this.#loadAtlas;
    if (load === null || this.#hasAtlas || !this.#isReady || this.#map.getZoom() > FADE_TO) return;
    this.#hasAtlas = true;
    try {
      const { land, borders } = await load();
      this.#source("land").setData(land);
      this.#source("borders").setData(borders);
      this.#repaint();
    } catch (error) {
      this.#hasAtlas = false;
      console.info(`${error}`);
    }
  }

  /**
   * Draw the runners as they are now.
   *
   * @param {Runner[]} runners
   * @param {View} view
   */
  show(runners, { store, follows, selected, exactly = false }) {
    this.#isExact = exactly || still.matches;
    const now = this.#options.now();
    this.#selected = selected;
    this.#now = now;
    this.#showCourses([...store.races.values()]);
    const placed = runners.filter(hasFix);
    const isBig = (/** @type {Runner} */ { code }) =>
      follows.has(code) || code === selected;
    this.#placed = placed;
    this.#send("crowd", this.#crowd.to(
      placed.filter((runner) => !isBig(runner)).map((runner) => point(runner, now)),
    ));
    this.#big = placed.filter(isBig);
    this.#motion.keep(new Set(this.#big.map(({ code }) => code)));
    for (const runner of this.#big) {
      this.#motion.aim(runner, store.courseOf(runner)?.along ?? null, now);
    }
    this.#showTrails();
    this.#animate();
    this.#look();
  }

  /**
   * Stay with a runner, or with none.
   *
   * @param {string | null} code
   */
  follow(code) {
    const runner = this.#placed.find((other) => other.code === code);
    this.#camera.follow(code, runner && placeOf(runner));
  }

  /**
   * Tell how much of the lower edge the sheet covers.
   *
   * @param {number} covered px
   */
  setCovered(covered) {
    this.#camera.setCovered(covered);
  }

  /** @param {boolean} isPaused */
  setPaused(isPaused) {
    this.#isPaused = isPaused;
  }

  /** @param {string} id @returns {import("maplibre-gl").GeoJSONSource} */
  #source(id) {
    return /** @type {any} */ (this.#map.getSource(id));
  }

  /** @param {string} id @param {ReturnType<PointDiff["to"]>} diff */
  #send(id, diff) {
    if (diff) this.#source(id).updateData(diff);
  }

  /** @param {import("../store.js").Race[]} races */
  #showCourses(races) {
    const wanted = races.map(({ slug, line }) => `${slug} ${line.length}`).join();
    if (wanted === this.#coursesOf) return;
    this.#coursesOf = wanted;
    this.#source("course").setData(courseLines(races));
    this.#source("marks").setData(courseMarks(races));
    this.#courses = races.flatMap(({ line }) => line);
  }

  // Picture after picture while somebody is on their way; the next one only when the map
  // has taken the last, however slow the machine is.
  async #animate() {
    this.#isOld = true;
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    try {
      do {
        this.#isOld = false;
        await this.#showBig();
        await new Promise(requestAnimationFrame);
      } while (
        this.#isOld ||
        (!this.#isPaused && !this.#isExact && this.#motion.isMoving(this.#options.now()))
      );
    } finally {
      this.#isDrawing = false;
    }
  }

  /** @param {Placed} runner @param {number} now @returns {import("./motion.js").Shown} */
  #shown(runner, now) {
    if (!this.#isExact) return this.#motion.place(runner.code, now);
    const at = placeOf(runner);
    return { at, time: runner.fix.t, predicted: false, from: at };
  }

  #showTrails() {
    const now = this.#options.now();
    this.#trailedTo = new Map(
      this.#big.map((runner) => [runner.code, this.#shown(runner, now).time]),
    );
    this.#source("trails").setData(trailLines(this.#big, (code) => this.#trailEnd(code)));
  }

  /** @param {string} code */
  #trailEnd(code) {
    return this.#trailedTo.get(code) ?? -Infinity;
  }

  // The discs where they stand on their way, and what is between them and their trails.
  async #showBig() {
    const now = this.#isPaused ? this.#now : this.#options.now();
    const shown = new Map(this.#big.map((runner) => [runner.code, this.#shown(runner, now)]));
    const shownOf = (/** @type {string} */ code) =>
      /** @type {import("./motion.js").Shown} */ (shown.get(code));
    const diff = this.#followed.to(this.#big.map((runner) => this.#disc(runner, shownOf(runner.code))));
    const tracked = shown.get(this.#camera.followed ?? "");
    if (tracked) this.#camera.track(tracked.at);
    if (!diff) return;
    await Promise.all([
      this.#source("followed").updateData(diff),
      this.#source("heads").setData(headLines(this.#big, (code) => this.#trailEnd(code), shownOf)),
    ]);
  }

  /** @param {Placed} runner @param {import("./motion.js").Shown} shown */
  #disc(runner, { at: [lng, lat], predicted }) {
    const state = liveness(runner.fix.t, this.#now);
    const isStale = ["stale", "lost"].includes(state);
    const isSelected = runner.code === this.#selected;
    const disc = { colour: runner.colour, label: label(runner), isStale, isSelected };
    const old = isStale ? age(this.#now - runner.fix.t) : "";
    const properties = {
      code: runner.code,
      state,
      colour: runner.colour,
      disc: addDisc(this.#map, disc, this.#tokens),
      heading: runner.fix.heading,
      predicted,
      selected: isSelected,
      age: old,
      caption: old ? `${runner.name}\n${old}` : runner.name,
    };
    return { lng, lat, properties };
  }

  // Choose what to look at, once there is something and nobody has moved the map.
  #look() {
    if (this.#camera.keepsMine) this.#camera.keep(this.#big.map(placeOf));
    if (this.#isFitted || !this.#isReady || this.#camera.isFree) return;
    this.#isFitted = this.#fit({ animate: false });
    // Where there is nobody to fit it to, it stays at the whole world.
    this.#showOutlines();
  }

  #fit({ animate = true } = {}) {
    const [only] = this.#options.oneRunner ? this.#placed : [];
    if (only) {
      this.#camera.follow(only.code, placeOf(only));
      return true;
    }
    // Someone lost since hours, far away, would make all others dots.
    const seen = this.#placed.filter(({ fix }) => liveness(fix.t, this.#now) !== "lost");
    const places = (seen.length ? seen : this.#placed).map(placeOf);
    const [first, other] = this.#options.fitCourse
      ? [this.#courses, places]
      : [places, this.#courses];
    const points = first.length ? first : other;
    this.#camera.fit(points, { animate });
    return points.length > 0;
  }

  /** @param {import("maplibre-gl").MapMouseEvent} event */
  #click({ point: { x, y } }) {
    /** @type {[[number, number], [number, number]]} */
    const box = [
      [x - REACH, y - REACH],
      [x + REACH, y + REACH],
    ];
    const hits = this.#map.queryRenderedFeatures(box, { layers: [...PICKABLE, CLUSTERS] });
    const [nearest] = hits
      .map(({ layer, properties, geometry }) => {
        const at = /** @type {LngLat} */ (
          /** @type {import("geojson").Point} */ (geometry).coordinates
        );
        const place = this.#map.project(at);
        return { layer, properties, at, away: Math.hypot(place.x - x, place.y - y) };
      })
      .sort((a, b) => a.away - b.away);
    if (!nearest) return this.#clickPlace({ x, y });
    if (nearest.layer.id !== CLUSTERS) this.#options.onPick(nearest.properties.code);
    else this.#openCluster(nearest.properties.cluster_id, nearest.at);
  }

  /** @param {{x: number, y: number}} point */
  #clickPlace({ x, y }) {
    const [place, beside] = [this.#map.unproject([x, y]), this.#map.unproject([x + COURSE_REACH, y])];
    this.#options.onPlace([place.lng, place.lat], place.distanceTo(beside));
  }

  /**
   * Stick a pin into the map, or take it out.
   *
   * @param {LngLat | null} place
   */
  pin(place) {
    this.#source("pin").setData({
      type: "FeatureCollection",
      features: place
        ? [{ type: "Feature", properties: {}, geometry: { type: "Point", coordinates: place } }]
        : [],
    });
  }

  // Keep all of mine in view, or no longer.
  #keepMine() {
    if (this.#camera.keepsMine) return this.#camera.release();
    this.#camera.keep(this.#big.map(placeOf));
  }

  /** @param {number} id @param {LngLat} at */
  async #openCluster(id, at) {
    const source = this.#source("crowd");
    const zoom = await source.getClusterExpansionZoom(id).catch(() => null);
    if (zoom === null) return; // the cluster has changed meanwhile
    this.#camera.release();
    this.#map.easeTo({ center: at, zoom: zoom + 0.5 });
  }

  /** @param {boolean} isOver */
  #point(isOver) {
    this.#map.getCanvas().style.cursor = isOver ? "pointer" : "";
  }

  #repaint() {
    this.#tokens = readTokens();
    const ours = this.#loadAtlas === null ? {} : outlinePaints(this.#tokens, this.#hasAtlas);
    for (const { id, paint } of layers(this.#tokens)) if (paint) ours[id] = paint;
    for (const [id, paint] of Object.entries(ours)) {
      for (const [name, value] of Object.entries(paint)) {
        this.#map.setPaintProperty(id, /** @type {any} */ (name), value);
      }
    }
    removeDiscs(this.#map);
    this.#animate();
  }
}

/** @param {Runner} runner @returns {runner is Placed} */
function hasFix(runner) {
  return runner.fix !== null;
}

/** @param {Placed} runner @returns {LngLat} */
function placeOf({ fix }) {
  return [fix.lng, fix.lat];
}

/** @param {Placed} runner @param {number} now */
function point(runner, now) {
  const { code, colour, fix } = runner;
  const properties = { code, colour, label: label(runner), state: liveness(fix.t, now) };
  return { lng: fix.lng, lat: fix.lat, properties };
}

/** @param {string} selector @param {() => void} action */
function on(selector, action) {
  find(selector).addEventListener("click", () => action());
}
