// What a live page shows on its map: courses and runners.

import { find } from "../dom.js";
import { age, label } from "../format.js";
import { liveness } from "../liveness.js";
import { Camera } from "./camera.js";
import { courseLines, courseMarks } from "./course.js";
import { PointDiff } from "./diff.js";
import { addDisc, discName, removeDiscs } from "./discs.js";
import { Glider } from "./glide.js";
import { CLUSTERS, layers, PICKABLE, SOURCES } from "./layers.js";
import { outlinePaints, readTokens } from "./style.js";
import { trailLines } from "./trails.js";

// How far from a marker a finger still means it. px.
const REACH = 22;
// A glide is drawn this often. ms.
const GLIDE_EVERY = 50;

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
 * }} Options
 * @typedef {{
 *   races: Map<string, import("../store.js").Race>, selected: string | null,
 *   follows: import("../follows.js").Follows, now: number,
 * }} View
 */

/** The map once it is open. */
export class LiveMap {
  #map;
  #camera;
  #tokens = readTokens();
  #hasAtlas;
  #options;
  #crowd = new PointDiff();
  #followed = new PointDiff();
  #glider = new Glider();
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
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #glideTimer;

  /**
   * @param {Library} map
   * @param {boolean | null} hasAtlas null: the base map is not ours to paint
   * @param {Options} options
   */
  constructor(map, hasAtlas, options) {
    this.#map = map;
    this.#hasAtlas = hasAtlas;
    this.#options = options;
    this.#camera = new Camera(map);
    for (const [id, source] of Object.entries(SOURCES)) map.addSource(id, source);
    for (const layer of layers(this.#tokens)) map.addLayer(layer);
    map.on("click", (event) => this.#click(event));
    for (const layer of [...PICKABLE, CLUSTERS]) {
      map.on("mouseenter", layer, () => this.#point(true));
      map.on("mouseleave", layer, () => this.#point(false));
    }
    dark.addEventListener("change", () => this.#repaint());
    on("#fit", () => this.#fit());
    on("#north", () => this.#camera.north());
    on("#zoom-in", () => this.#camera.zoom(1));
    on("#zoom-out", () => this.#camera.zoom(-1));
  }

  /** MapLibre's own map, for tests. */
  get library() {
    return this.#map;
  }

  /** The first picture is complete: look at it. */
  ready() {
    this.#isReady = true;
  }

  /**
   * Draw the runners as they are at the server's `now`.
   *
   * @param {Runner[]} runners
   * @param {View} view
   */
  show(runners, { races, follows, selected, now }) {
    this.#selected = selected;
    this.#now = now;
    this.#showCourses([...races.values()]);
    const placed = runners.filter(hasFix);
    const isBig = (/** @type {Runner} */ { code }) =>
      follows.has(code) || code === selected;
    this.#placed = placed;
    this.#send("crowd", this.#crowd.to(
      placed.filter((runner) => !isBig(runner)).map((runner) => point(runner, now)),
    ));
    this.#big = placed.filter(isBig);
    const time = performance.now();
    this.#glider.keep(new Set(this.#big.map(({ code }) => code)));
    for (const { code, fix } of this.#big) {
      this.#glider.aim(code, fix, time, { jump: still.matches || this.#isPaused });
    }
    this.#showBig();
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

  // The discs where they stand on their glide, and the trails up to them.
  #showBig() {
    clearTimeout(this.#glideTimer);
    const time = performance.now();
    const now = this.#now;
    const points = this.#big.map((runner) => {
      const [lng, lat] = this.#glider.place(runner.code, time);
      const isStale = ["stale", "lost"].includes(liveness(runner.fix.t, now));
      const disc = {
        colour: runner.colour,
        label: label(runner),
        isStale,
        isSelected: runner.code === this.#selected,
      };
      addDisc(this.#map, disc, this.#tokens);
      const old = isStale ? age(now - runner.fix.t) : "";
      const properties = {
        code: runner.code,
        state: liveness(runner.fix.t, now),
        colour: runner.colour,
        disc: discName(disc),
        heading: runner.fix.heading,
        selected: disc.isSelected,
        age: old,
        caption: old ? `${runner.name}\n${old}` : runner.name,
      };
      return { lng, lat, properties };
    });
    this.#send("followed", this.#followed.to(points));
    this.#source("trails").setData(
      trailLines(this.#big, (code) => this.#glider.place(code, time)),
    );
    const tracked = points.find(({ properties }) => properties.code === this.#camera.followed);
    if (tracked) this.#camera.track([tracked.lng, tracked.lat]);
    if (this.#glider.isMoving(time) && !this.#isPaused) {
      this.#glideTimer = setTimeout(() => this.#showBig(), GLIDE_EVERY);
    }
  }

  // Choose what to look at, once there is something and nobody has moved the map.
  #look() {
    if (this.#isFitted || !this.#isReady || this.#camera.isFree) return;
    this.#isFitted = this.#fit({ animate: false });
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
    if (!nearest) return;
    if (nearest.layer.id !== CLUSTERS) this.#options.onPick(nearest.properties.code);
    else this.#openCluster(nearest.properties.cluster_id, nearest.at);
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
    const ours = this.#hasAtlas === null ? {} : outlinePaints(this.#tokens, this.#hasAtlas);
    for (const { id, paint } of layers(this.#tokens)) if (paint) ours[id] = paint;
    for (const [id, paint] of Object.entries(ours)) {
      for (const [name, value] of Object.entries(paint)) {
        this.#map.setPaintProperty(id, /** @type {any} */ (name), value);
      }
    }
    removeDiscs(this.#map);
    this.#showBig();
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
