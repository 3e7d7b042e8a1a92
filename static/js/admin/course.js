// The preview of a course in the race office: the line, and the checkpoints of the form,
// saved or not.

import { find, setText } from "../dom.js";
import { courseLines, courseMarks } from "../map/course.js";
import { showImages } from "../map/discs.js";
import { SOURCES, layers } from "../map/layers.js";
import { loadAtlas, outlineStyle, readTokens } from "../map/style.js";
import { metresBetween } from "../metres.js";
import { decodePolyline } from "../polyline.js";

/**
 * @typedef {import("../polyline.js").LngLat} LngLat
 * @typedef {{id: number, name: string, kind: string, distance: number, lat: number | null, lng: number | null}} Checkpoint
 */

/**
 * Return the position at a distance along a line.
 * @param {LngLat[]} line
 * @param {number} length of the race, m: distances are scaled to it
 * @param {number} distance m
 * @returns {LngLat}
 */
export function placeAt(line, length, distance) {
  const steps = line.slice(1).map((point, index) => metresBetween(line[index], point));
  const drawn = steps.reduce((sum, step) => sum + step, 0);
  let left = length > 0 ? (distance * drawn) / length : distance;
  if (left <= 0) return line[0];
  for (const [index, step] of steps.entries()) {
    if (left <= step && step > 0) {
      const [from, to] = [line[index], line[index + 1]];
      const share = left / step;
      return [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])];
    }
    left -= step;
  }
  return line[line.length - 1];
}

/**
 * Return the checkpoints in the form below the map. Deleted and incomplete rows are null.
 * @param {ParentNode} form
 */
function formCheckpoints(form) {
  /** @type {{name: string, distance: number, kind: string}[]} */
  const rows = [];
  for (const row of form.querySelectorAll(".dynamic-checkpoints")) {
    /** @param {string} name @returns {any} */
    const field = (name) => row.querySelector(`[name$="-${name}"]`);
    const [name, distance] = [field("name")?.value, field("distance")?.value];
    if (!name || !distance || field("DELETE")?.checked) continue;
    rows.push({ name, distance: Number(distance), kind: field("kind")?.value });
  }
  return rows;
}

async function show() {
  const words = find("#course-words");
  const config = JSON.parse(find("#course-config").textContent ?? "{}");
  const answer = await fetch(config.data);
  if (!answer.ok) throw new Error(`The course: HTTP ${answer.status}.`);
  const race = await answer.json();
  const line = decodePolyline(race.course.line);
  const [{ length }, form] = [race.course, document.querySelector("#race_form")];
  /** @returns {Checkpoint[]} */
  const checkpoints = () => {
    const rows = form?.querySelector(".dynamic-checkpoints")
      ? formCheckpoints(form)
      : race.checkpoints;
    return rows.map((/** @type {Checkpoint} */ row, /** @type {number} */ id) => {
      const [lng, lat] = placeAt(line, length, row.distance);
      return { ...row, id, lng, lat };
    });
  };
  /** @param {Checkpoint[]} list */
  const describe = (list) => {
    const beyond = list.filter(({ distance }) => distance > length + 1);
    setText(
      words,
      `${line.length.toLocaleString("en")} points, ${(length / 1000).toFixed(2)} km, ` +
        `${list.length} checkpoints` +
        (beyond.length ? `; beyond the finish: ${beyond.map((c) => c.name).join(", ")}` : ""),
    );
  };
  describe(checkpoints());
  if (!document.createElement("canvas").getContext("webgl2")) {
    throw new Error("This browser has no WebGL 2, which the map is drawn with.");
  }
  const library = await import(config.library);
  library.setWorkerUrl(new URL(config.worker, location.href).href);
  const tokens = readTokens();
  const atlas = await loadAtlas(config).catch(() => null);
  const lngs = line.map(([lng]) => lng);
  const lats = line.map(([, lat]) => lat);
  const map = new library.Map({
    container: "course-map",
    style: outlineStyle(tokens, atlas),
    bounds: [
      [Math.min(...chunked(lngs, Math.min)), Math.min(...chunked(lats, Math.min))],
      [Math.max(...chunked(lngs, Math.max)), Math.max(...chunked(lats, Math.max))],
    ],
    fitBoundsOptions: { padding: 40, maxZoom: 16 },
    maxPitch: 0,
    fadeDuration: 0,
    attributionControl: { compact: true },
    // The map ignores the wheel and single fingers, so that the form can be scrolled.
    cooperativeGestures: true,
  });
  // Without a listener the error would be logged to the console.
  map.on("error", (/** @type {any} */ { error }) => console.info(`Map: ${error.message}`));
  map.addControl(new library.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new library.ScaleControl({ maxWidth: 80 }), "bottom-left");
  await map.once("style.load");
  showImages(map, tokens);
  for (const source of ["course", "marks"]) map.addSource(source, SOURCES[source]);
  const ours = layers(tokens).filter(({ source }) => ["course", "marks"].includes(source));
  for (const layer of ours) map.addLayer(layer);
  const draw = () => {
    const list = checkpoints();
    describe(list);
    const drawn = [{ ...race, line, length, checkpoints: list }];
    map.getSource("course").setData(courseLines(/** @type {any} */ (drawn)));
    map.getSource("marks").setData(courseMarks(/** @type {any} */ (drawn)));
  };
  draw();
  form?.addEventListener("input", draw);
  form?.addEventListener("change", draw);
}

/**
 * Compute the extreme in parts, because a call with 50,000 arguments would be too long.
 * @param {number[]} values
 * @param {(...values: number[]) => number} extreme
 */
function chunked(values, extreme) {
  const found = [];
  for (let at = 0; at < values.length; at += 5000) {
    found.push(extreme(...values.slice(at, at + 5000)));
  }
  return found;
}

if (typeof document !== "undefined") {
  show().catch((error) => setText(find("#course-words"), `${error.message}`));
}
