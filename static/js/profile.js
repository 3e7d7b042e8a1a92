// The height profile of a course, with my runners on it. A place is chosen by dragging.

import { find, setAttribute, setText } from "./dom.js";
import { distanceWords, heightWords, label, textOn } from "./format.js";
import { gettext } from "./language.js";
import { FINAL } from "./liveness.js";

// The size of the drawing, of which the style sheet stretches the width.
const WIDTH = 1000;
const HEIGHT = 100;
// The lowest point is drawn this far above the edge.
const FLOOR = 12;

/**
 * @typedef {import("./store.js").Runner} Runner
 * @typedef {import("./store.js").Race} Race
 */

/** Heights at equal distances along a course. */
export class Heights {
  #values;
  #length;

  /**
   * @param {number[]} values m, from the start to the finish
   * @param {number} length of the course, m
   */
  constructor(values, length) {
    this.#values = values;
    this.#length = length;
  }

  /** @param {number} distance m @returns {number} m */
  at(distance) {
    const exact = this.#index(distance);
    const before = Math.min(Math.floor(exact), this.#values.length - 2);
    const [low, high] = this.#values.slice(before, before + 2);
    return low + (exact - before) * (high - low);
  }

  /**
   * Return the metres of climb from a distance to the finish.
   * @param {number} distance m
   */
  climb(distance) {
    const rest = this.#values.slice(Math.floor(this.#index(distance)) + 1);
    let [climb, from] = [0, this.at(distance)];
    for (const height of rest) {
      climb += Math.max(0, height - from);
      from = height;
    }
    return climb;
  }

  /** @param {number} distance @returns {[x: number, y: number]} as shares of the drawing */
  drawn(distance) {
    const [low, high] = [Math.min(...this.#values), Math.max(...this.#values)];
    const share = (this.at(distance) - low) / Math.max(1, high - low);
    return [distance / this.#length, 1 - (FLOOR + share * (HEIGHT - 2 * FLOOR)) / HEIGHT];
  }

  /** Return the outline of the area as the `d` of a path. */
  path() {
    const step = this.#length / (this.#values.length - 1);
    const points = this.#values.map((_, n) => {
      const [x, y] = this.drawn(n * step);
      return `${(x * WIDTH).toFixed(1)} ${(y * HEIGHT).toFixed(1)}`;
    });
    return `M0 ${HEIGHT}L${points.join("L")}L${WIDTH} ${HEIGHT}Z`;
  }

  /** @param {number} distance */
  #index(distance) {
    const share = Math.min(1, Math.max(0, distance / this.#length));
    return share * (this.#values.length - 1);
  }
}

/** The profile under the map. */
export class Profile {
  #race;
  #heights;
  #slider = /** @type {HTMLInputElement} */ (find("#profile-place"));
  #isDragging = false;
  /** @type {Runner[]} */
  #runners = [];

  /**
   * @param {{
   *   race: Race, heights: number[], onDrag: (race: Race, distance: number) => void,
   *   onChoose: (race: Race, distance: number) => void,
   * }} options
   */
  constructor({ race, heights, onDrag, onChoose }) {
    this.#race = race;
    this.#heights = new Heights(heights, race.length);
    setAttribute(find("#profile path"), "d", this.#heights.path());
    this.#slider.max = String(Math.round(race.length));
    this.#slider.addEventListener("input", () => {
      this.#isDragging = true;
      this.#describe(Number(this.#slider.value));
      onDrag(race, Number(this.#slider.value));
    });
    this.#slider.addEventListener("change", () => {
      this.#isDragging = false;
      onChoose(race, Number(this.#slider.value));
    });
    find("#profile").hidden = false;
  }

  /**
   * Show runners, and the chosen place.
   * @param {Runner[]} runners
   * @param {number | null} place m
   */
  render(runners, place) {
    this.#runners = runners.filter(
      ({ race, fix, state }) =>
        race === this.#race.slug && fix?.progress != null &&
        !FINAL.has(state ?? ""),
    );
    this.#showDots();
    find("#profile").classList.toggle("chosen", place !== null);
    if (!this.#isDragging) {
      if (place !== null) this.#slider.value = String(Math.round(place));
      this.#describe(place);
    }
    if (/** @type {HTMLDetailsElement} */ (find("#profile details")).open) this.#showTable();
  }

  #showDots() {
    const dots = find("#profile .dots");
    while (dots.children.length > this.#runners.length) dots.lastElementChild?.remove();
    while (dots.children.length < this.#runners.length) dots.append(document.createElement("span"));
    this.#runners.forEach((runner, n) => {
      const dot = /** @type {HTMLElement} */ (dots.children[n]);
      const [x, y] = this.#heights.drawn(runner.fix?.progress ?? 0);
      setText(dot, label(runner));
      Object.assign(dot.style, {
        left: `${100 * x}%`, top: `${100 * y}%`,
        background: runner.colour, color: textOn(runner.colour),
      });
    });
  }

  // Describe a place; without one, how far up it goes for the first of my runners.
  /** @param {number | null} place m */
  #describe(place) {
    const [first] = this.#runners;
    const at = place ?? first?.fix?.progress ?? 0;
    const climb = heightWords(this.#heights.climb(at));
    const words = place !== null
      ? gettext("{distance}: {height} high, {climb} of climb to go", {
          distance: distanceWords(place), height: heightWords(this.#heights.at(place)), climb,
        })
      : first
        ? gettext("{name}: {climb} of climb to go", { name: first.name, climb })
        : gettext("{climb} of climb in all", { climb });
    setText(find("#profile-words"), words);
    setAttribute(this.#slider, "aria-valuetext", words);
  }

  #showTable() {
    const points = [
      ...this.#race.checkpoints,
      ...this.#runners.map((runner) => ({
        name: runner.bib ? `${runner.bib} ${runner.name}` : runner.name,
        distance: runner.fix?.progress ?? 0,
      })),
    ].sort((a, b) => a.distance - b.distance);
    const rows = points.map(({ name, distance }) => [
      name, distanceWords(distance), heightWords(this.#heights.at(distance)),
      heightWords(this.#heights.climb(distance)),
    ]);
    const body = find("#profile tbody");
    while (body.children.length > rows.length) body.lastElementChild?.remove();
    while (body.children.length < rows.length) {
      const row = document.createElement("tr");
      row.append(...["th", "td", "td", "td"].map((name) => document.createElement(name)));
      row.children[0].setAttribute("scope", "row");
      body.append(row);
    }
    rows.forEach((cells, n) =>
      cells.forEach((text, column) => setText(body.children[n].children[column], text)),
    );
  }
}
