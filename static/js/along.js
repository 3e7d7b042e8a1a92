// Points along a course. Distances are those of the race, which may be certified and then
// differ from those of the drawn line.

import { metresBetween } from "./metres.js";

// Two passes within this distance along the course count as one.
const SAME_PASS_M = 150;

/** @typedef {import("./polyline.js").LngLat} LngLat */

/** A course line with distances. */
export class Along {
  #line;
  #at; // of each point of the line, m
  /** m */
  length;

  /**
   * @param {LngLat[]} line two points at least
   * @param {number} length m; 0: as drawn
   */
  constructor(line, length) {
    this.#line = line;
    const at = [0];
    for (let n = 1; n < line.length; n += 1) {
      at.push(at[n - 1] + metresBetween(line[n - 1], line[n]));
    }
    const drawn = at[at.length - 1];
    const scale = length > 0 && drawn > 0 ? length / drawn : 1;
    this.#at = at.map((distance) => distance * scale);
    this.length = this.#at[at.length - 1];
  }

  /**
   * Return the position at a distance. Distances beyond an end are clamped.
   * @param {number} distance m
   * @returns {LngLat}
   */
  place(distance) {
    const wanted = Math.min(Math.max(distance, 0), this.length);
    let low = 0;
    let high = this.#at.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#at[middle] <= wanted) low = middle;
      else high = middle;
    }
    const step = this.#at[high] - this.#at[low];
    const share = step ? (wanted - this.#at[low]) / step : 0;
    const [from, to] = [this.#line[low], this.#line[high]];
    return [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])];
  }

  /**
   * Return the line between two distances.
   * @param {number} from m
   * @param {number} to m
   * @returns {LngLat[]}
   */
  between(from, to) {
    const inside = this.#line.filter((_, n) => this.#at[n] > from && this.#at[n] < to);
    return [this.place(from), ...inside, this.place(to)];
  }

  /**
   * Return the distance along the course nearest to a position.
   * @param {LngLat} place
   */
  nearestTo(place) {
    let found = { distance: 0, away: Infinity };
    for (let n = 1; n < this.#line.length; n += 1) {
      const { share, away } = nearest(this.#line[n - 1], this.#line[n], place);
      if (away >= found.away) continue;
      found = { distance: this.#at[n - 1] + share * (this.#at[n] - this.#at[n - 1]), away };
    }
    return found.distance;
  }

  /**
   * Return the distances at which the course passes a position, in order.
   * @param {LngLat} place
   * @param {number} reach m; farther is no pass
   */
  passes(place, reach) {
    /** @type {{distance: number, away: number}[]} */
    const passes = [];
    for (let n = 1; n < this.#line.length; n += 1) {
      const near = nearest(this.#line[n - 1], this.#line[n], place);
      if (near.away > reach) continue;
      const step = this.#at[n] - this.#at[n - 1];
      const pass = { distance: this.#at[n - 1] + near.share * step, away: near.away };
      const last = passes[passes.length - 1];
      if (!last || pass.distance - last.distance > SAME_PASS_M) passes.push(pass);
      else if (pass.away < last.away) passes[passes.length - 1] = pass;
    }
    return passes.map(({ distance }) => distance);
  }
}

/**
 * Return the point of a short segment nearest to a position, as a fraction, and its
 * distance.
 * @param {LngLat} from
 * @param {LngLat} to
 * @param {LngLat} place
 */
function nearest(from, to, place) {
  const shrink = Math.cos((place[1] * Math.PI) / 180);
  const [dx, dy] = [(to[0] - from[0]) * shrink, to[1] - from[1]];
  const [px, py] = [(place[0] - from[0]) * shrink, place[1] - from[1]];
  const square = dx * dx + dy * dy;
  const share = square ? Math.min(1, Math.max(0, (px * dx + py * dy) / square)) : 0;
  const at = [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])];
  return { share, away: metresBetween(at, place) };
}
