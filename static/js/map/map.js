// The map of a live page: base map, courses, runners.

import { age, label } from "../format.js";
import { liveness } from "../liveness.js";
import { Camera } from "./camera.js";
import { courseLines, courseMarks } from "./course.js";
import { PointDiff } from "./diff.js";
import { addDisc, discName, removeDiscs } from "./discs.js";
import { Glider } from "./glide.js";
import { CLUSTERS, layers, PICKABLE, SOURCES } from "./layers.js";
import { loadAtlas, outlinePaints, outlineStyle, readTokens } from "./style.js";
import { trailLines } from "./trails.js";

// How far from a marker a finger still means it. px.
const REACH = 22;
// A glide is drawn this often. ms.
const GLIDE_EVERY = 50;
// A style from outside gets this long before ours takes its place. ms.
const STYLE_WAIT = 8000;

const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * Open the map. Throws when this browser or installation cannot show one.
 *
 * `config`: the URLs {library, worker, topojson, atlas, style}; `onPick(code)`.
 */
export async function createMap(config, { fitCourse, oneRunner, onPick }) {
  if (!document.createElement("canvas").getContext("webgl2")) {
    throw new Error("This browser has no WebGL 2, which the map is drawn with.");
  }
  const [library, base] = await Promise.all([import(config.library), loadBase(config)]);
  // A worker of our own address, not one made from a string: a strict policy allows it.
  library.setWorkerUrl(new URL(config.worker, location.href).href);
  const map = new library.Map({
    container: "map",
    style: base.style,
    center: [0, 30],
    zoom: 1,
    attributionControl: false,
    dragRotate: false,
    pitchWithRotate: false,
    cooperativeGestures: false,
    canvasContextAttributes: { antialias: true },
    fadeDuration: 0,
  });
  map.on("error", ({ error }) => console.info(`Map: ${error?.message ?? "unknown"}`));
  map.addControl(new library.AttributionControl({ compact: false }), "bottom-left");
  map.addControl(new library.ScaleControl({ maxWidth: 80 }), "bottom-left");
  map.touchZoomRotate.disableRotation();
  await new Promise((resolve) => map.once("load", resolve));
  return new LiveMap(map, { hasAtlas: base.hasAtlas, fitCourse, oneRunner, onPick });
}

// The installation's own style if there is one and it answers, else the outlines.
async function loadBase(config) {
  if (config.style) {
    try {
      const response = await fetch(config.style, {
        signal: AbortSignal.timeout(STYLE_WAIT),
      });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const style = await response.json();
      // Labels, ours too, are drawn with local fonts: one server less to wait for.
      delete style.glyphs;
      return { style, hasAtlas: null };
    } catch (error) {
      console.info(`The map style ${config.style} failed (${error.message}).`);
    }
  }
  const atlas = await loadAtlas(config).catch((error) => {
    console.info(error.message);
    return null;
  });
  return { style: outlineStyle(readTokens(), atlas), hasAtlas: atlas !== null };
}

class LiveMap {
  #map;
  #camera;
  #tokens = readTokens();
  #hasAtlas; // null: the base map is not ours to paint
  #fitCourse; // the course is the picture, not where the runners are
  #oneRunner;
  #onPick;
  #crowd = new PointDiff();
  #followed = new PointDiff();
  #glider = new Glider();
  #shown = { runners: [], follows: null, selected: null, now: 0 };
  #big = []; // the runners drawn with a disc: followed or selected
  #courses = []; // all points of the courses: [lng, lat]
  #coursesOf = null; // what is drawn of them
  #isReady = false;
  #isFitted = false;
  #isPaused = false;
  #glideTimer = 0;

  constructor(map, { hasAtlas, fitCourse, oneRunner, onPick }) {
    this.#map = map;
    this.#hasAtlas = hasAtlas;
    this.#fitCourse = fitCourse;
    this.#oneRunner = oneRunner;
    this.#onPick = onPick;
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

  /** Draw the runners (an array) as they are at the server's `now`. */
  show(runners, { races, follows, selected, now }) {
    this.#shown = { runners, follows, selected, now };
    this.#showCourses([...races.values()]);
    const placed = runners.filter(({ fix }) => fix);
    const isBig = ({ code }) => follows.has(code) || code === selected;
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

  /** Stay with a runner, or with none. */
  follow(code) {
    const runner = this.#shown.runners.find((other) => other.code === code);
    this.#camera.follow(code, runner?.fix && [runner.fix.lng, runner.fix.lat]);
  }

  /** Tell how much of the lower edge the sheet covers, in px. */
  setCovered(covered) {
    this.#camera.setCovered(covered);
  }

  setPaused(isPaused) {
    this.#isPaused = isPaused;
  }

  #send(source, diff) {
    if (diff) this.#map.getSource(source).updateData(diff);
  }

  #showCourses(races) {
    const wanted = races.map(({ slug, line }) => `${slug} ${line.length}`).join();
    if (wanted === this.#coursesOf) return;
    this.#coursesOf = wanted;
    this.#map.getSource("course").setData(courseLines(races));
    this.#map.getSource("marks").setData(courseMarks(races));
    this.#courses = races.flatMap(({ line }) => line);
  }

  // The discs where they stand on their glide, and the trails up to them.
  #showBig() {
    clearTimeout(this.#glideTimer);
    const time = performance.now();
    const { selected, now } = this.#shown;
    const points = this.#big.map((runner) => {
      const [lng, lat] = this.#glider.place(runner.code, time);
      const isStale = ["stale", "lost"].includes(liveness(runner.fix.t, now));
      const disc = {
        colour: runner.colour,
        label: label(runner),
        isStale,
        isSelected: runner.code === selected,
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
    this.#map.getSource("trails").setData(
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
    const [only] = this.#oneRunner ? this.#shown.runners : [];
    if (only?.fix) this.#camera.follow(only.code, [only.fix.lng, only.fix.lat]);
    else if (!this.#fit({ animate: false })) return;
    this.#isFitted = true;
  }

  #fit({ animate = true } = {}) {
    const places = this.#shown.runners
      .filter(({ fix }) => fix)
      .map(({ fix }) => [fix.lng, fix.lat]);
    const [first, other] = this.#fitCourse
      ? [this.#courses, places]
      : [places, this.#courses];
    const points = first.length ? first : other;
    this.#camera.fit(points, { animate });
    return points.length > 0;
  }

  #click({ point: { x, y } }) {
    const box = [
      [x - REACH, y - REACH],
      [x + REACH, y + REACH],
    ];
    const hits = this.#map.queryRenderedFeatures(box, { layers: [...PICKABLE, CLUSTERS] });
    const nearest = hits
      .map((hit) => {
        const place = this.#map.project(hit.geometry.coordinates);
        return { hit, away: Math.hypot(place.x - x, place.y - y) };
      })
      .toSorted((a, b) => a.away - b.away)[0]?.hit;
    if (!nearest) return;
    if (nearest.layer.id === CLUSTERS) this.#openCluster(nearest);
    else this.#onPick(nearest.properties.code);
  }

  async #openCluster({ properties, geometry }) {
    const source = this.#map.getSource("crowd");
    const zoom = await source.getClusterExpansionZoom(properties.cluster_id).catch(() => null);
    if (zoom === null) return; // the cluster has changed meanwhile
    this.#camera.release();
    this.#map.easeTo({ center: geometry.coordinates, zoom: zoom + 0.5 });
  }

  #point(isOver) {
    this.#map.getCanvas().style.cursor = isOver ? "pointer" : "";
  }

  #repaint() {
    this.#tokens = readTokens();
    const ours = this.#hasAtlas === null ? {} : outlinePaints(this.#tokens, this.#hasAtlas);
    for (const { id, paint } of layers(this.#tokens)) if (paint) ours[id] = paint;
    for (const [id, paint] of Object.entries(ours)) {
      for (const [name, value] of Object.entries(paint)) {
        this.#map.setPaintProperty(id, name, value);
      }
    }
    removeDiscs(this.#map);
    this.#showBig();
  }
}

function point(runner, now) {
  const { code, colour, fix } = runner;
  const properties = { code, colour, label: label(runner), state: liveness(fix.t, now) };
  return { lng: fix.lng, lat: fix.lat, properties };
}

function on(selector, action) {
  document.querySelector(selector).addEventListener("click", () => action());
}
