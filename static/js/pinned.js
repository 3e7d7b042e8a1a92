// A place of the course that the visitor has pinned, and when my runners pass it.

import { find, setText } from "./dom.js";
import { rangeWords } from "./facts.js";
import { clockTime, distanceWords, hourAndMinute, label } from "./format.js";
import { gettext } from "./language.js";

// How long before a pass a visitor who has chosen this is notified.
const WARNINGS_MIN = [1, 5];
const MINUTE_MS = 60_000;
// Passes within this distance belong to the same place: they are computed to the metre,
// and found on the map to some metres.
const SAME_PLACE_M = 60;
// A longer table is not readable.
const ROW_LIMIT = 12;

/**
 * @typedef {import("./store.js").Runner} Runner
 * @typedef {import("./store.js").Race} Race
 * @typedef {import("./polyline.js").LngLat} LngLat
 * @typedef {import("./arrivals.js").Arrival} Arrival
 * @typedef {{race: Race, place: LngLat, passes: number[]}} Pin
 * @typedef {{
 *   store: import("./store.js").Store, arrivals: import("./arrivals.js").Arrivals,
 *   onChange: () => void, onPin: (place: LngLat | null) => void,
 * }} Options
 */

/** The table of arrivals at one place. */
export class Pinned {
  #store;
  #arrivals;
  #onChange;
  #onPin;
  #places = /** @type {HTMLSelectElement} */ (find("#places"));
  #table = find("#arrivals");
  #warn = /** @type {HTMLInputElement} */ (find("#warn"));
  /** @type {Pin | null} */
  #pin = null;
  /** @type {Set<string>} */
  #warned = new Set();
  #placesOf = "";

  /** @param {Options} options */
  constructor({ store, arrivals, onChange, onPin }) {
    this.#store = store;
    this.#arrivals = arrivals;
    this.#onChange = onChange;
    this.#onPin = onPin;
    this.#places.addEventListener("change", () => this.#choose());
    find("#unpin").addEventListener("click", () => this.#close());
    this.#table.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.#close();
    });
    this.#warn.parentElement?.toggleAttribute("hidden", !("Notification" in globalThis));
    this.#warn.addEventListener("change", () => this.#askToWarn());
  }

  /** Return the pinned place, or null. */
  get place() {
    return this.#pin?.place ?? null;
  }

  /** Return the distance of the pinned place at its first pass in m, or null. */
  get distance() {
    return this.#pin?.passes[0] ?? null;
  }

  /**
   * Pin the place at a distance along a course.
   * @param {Race} race
   * @param {number} distance m
   */
  choose(race, distance) {
    if (!race.along) return;
    this.#setPin({ race, place: race.along.place(distance), passes: [distance] });
  }

  /**
   * Pin the course near a place on the map, if there is one.
   * @param {LngLat} place
   * @param {number} reach m
   */
  point(place, reach) {
    for (const race of this.#store.races.values()) {
      const passes = race.along?.passes(place, reach) ?? [];
      if (race.along && passes.length) {
        return this.#setPin({ race, place: race.along.place(passes[0]), passes });
      }
    }
    this.#setPin(null);
  }

  /**
   * Refresh the places and the table.
   * @param {Runner[]} runners mine
   * @param {number} now
   */
  render(runners, now) {
    this.#offerPlaces();
    this.#renderTable(runners, now);
  }

  // Checkpoints as buttons for visitors who do not point at the course.
  #offerPlaces() {
    const races = [...this.#store.races.values()].filter(({ along }) => along);
    const wanted = races.map(({ slug, checkpoints }) => `${slug} ${checkpoints.length}`).join();
    if (wanted === this.#placesOf) return;
    this.#placesOf = wanted;
    const options = races.flatMap(({ slug, name, checkpoints }) =>
      checkpoints
        .filter(({ kind }) => kind !== "start")
        .map((point) => {
          const where = races.length > 1 ? `${name}: ${point.name}` : point.name;
          return new Option(where, `${slug} ${point.id}`);
        }),
    );
    this.#places.replaceChildren(new Option(gettext("a place…"), ""), ...options);
    find("#places-of").hidden = options.length === 0;
  }

  #choose() {
    const [slug, id] = this.#places.value.split(" ");
    const race = this.#store.races.get(slug);
    const point = race?.checkpoints.find((other) => String(other.id) === id);
    if (!race?.along || !point) return this.#setPin(null);
    const place = race.along.place(point.distance);
    this.#setPin({ race, place, passes: [point.distance] }, this.#places.value);
  }

  /** @param {Pin | null} pin */
  #setPin(pin, chosen = "") {
    this.#pin = pin;
    this.#warned.clear();
    this.#places.value = chosen;
    this.#onPin(pin?.place ?? null);
    this.#onChange();
  }

  #close() {
    this.#setPin(null);
    this.#places.focus();
  }

  /** @param {Runner[]} runners @param {number} now */
  #renderTable(runners, now) {
    this.#table.hidden = this.#pin === null;
    if (this.#pin === null) return;
    const { race, place, passes } = this.#pin;
    const where = passes.map(distanceWords).join(gettext(" and "));
    setText(find("#arrivals-at"), gettext("Arrival times at {places}", { places: where }));
    const codes = runners.filter((runner) => runner.race === race.slug).map(({ code }) => code);
    const at = passes.length === 1
      ? String(Math.round(passes[0]))
      : `${place[1].toFixed(6)},${place[0].toFixed(6)}`;
    const arrivals = codes.length
      ? this.#arrivals.at(race.slug, at, codes, performance.now())
      : [];
    const rows = this.#rows(arrivals ?? [], codes, passes);
    const body = find("tbody", this.#table);
    while (body.children.length > rows.length) body.lastElementChild?.remove();
    while (body.children.length < rows.length) {
      const row = document.createElement("tr");
      row.append(...["th", "td", "td"].map((name) => document.createElement(name)));
      row.children[0].setAttribute("scope", "row");
      body.append(row);
    }
    const many = new Set(rows.map(({ distance }) => Math.round(distance))).size > 1;
    rows.forEach((arrival, n) => this.#renderRow(body.children[n], arrival, many, now));
    const empty = find("#arrivals-empty");
    empty.hidden = rows.length > 0;
    setText(empty, emptyWords(codes.length, arrivals));
  }

  // Passes still to come, and for runners without one the reason.
  /** @param {Arrival[]} arrivals @param {string[]} codes @param {number[]} passes */
  #rows(arrivals, codes, passes) {
    // A checkpoint is one pass of its place. A course in laps has other passes of it.
    const mine = arrivals.filter(
      ({ code, distance }) =>
        codes.includes(code) && passes.some((pass) => isAt({ distance }, pass)),
    );
    const coming = mine.filter(({ status }) => status === "expected");
    const waited = new Set(coming.map(({ code }) => code));
    const others = codes.flatMap((code) => {
      const last = mine.filter((pass) => pass.code === code).pop();
      return last && !waited.has(code) ? [last] : [];
    });
    return [...coming, ...others].slice(0, ROW_LIMIT);
  }

  /** @param {Element} row @param {Arrival} arrival @param {boolean} many @param {number} now */
  #renderRow(row, arrival, many, now) {
    const runner = this.#store.runners.get(arrival.code);
    const who = runner ? (runner.bib ? `${label(runner)} ${runner.name}` : runner.name) : arrival.code;
    setText(row.children[0], many ? `${who}, ${distanceWords(arrival.distance)}` : who);
    const isExpected = arrival.status === "expected";
    setText(
      row.children[1],
      isExpected ? rangeWords(arrival, now) : (STATUS_WORDS[arrival.status] ?? ""),
    );
    const { earliest, latest, at } = arrival;
    const times = isExpected && earliest !== null && latest !== null
      ? `${hourAndMinute(earliest)}–${hourAndMinute(latest)}`
      : at !== null ? clockTime(at) : "";
    setText(row.children[2], times);
    if (runner && isExpected) this.#warnOf(runner, arrival, now);
  }

  /** @param {Runner} runner @param {Arrival} arrival @param {number} now */
  #warnOf(runner, { distance, earliest, at }, now) {
    if (!this.#warn.checked || earliest === null) return;
    const left = ((at ?? earliest) - now) / MINUTE_MS;
    const due = WARNINGS_MIN.find((minutes) => left <= minutes);
    if (due === undefined || left < -1) return;
    const key = `${runner.code} ${distance} ${due}`;
    if (this.#warned.has(key)) return;
    this.#warned.add(key);
    const words = gettext("{name} in about {count} min", {
      name: runner.name, count: Math.max(1, Math.round(left)),
    });
    find("#announcer").textContent = words;
    try {
      new Notification(words, {
        body: gettext("At {distance}", { distance: distanceWords(distance) }), tag: key,
      });
    } catch {
      // Phones need a service worker for notifications. The table shows the arrival
      // anyway.
    }
  }

  async #askToWarn() {
    if (!this.#warn.checked) return;
    const answer = await Notification.requestPermission();
    if (answer !== "granted") this.#warn.checked = false;
  }
}

/** @type {Record<string, string>} */
const STATUS_WORDS = {
  passed: gettext("passed"),
  not_started: gettext("not started yet"),
  too_early: gettext("too early to tell"),
  silent: gettext("no signal"),
  finished: gettext("finished"),
  dnf: gettext("did not finish"),
  dns: gettext("did not start"),
  dsq: gettext("disqualified"),
};

/** @param {number} runners @param {Arrival[] | null} arrivals */
function emptyWords(runners, arrivals) {
  if (runners === 0) return gettext("Star runners of this race to see when they pass.");
  return arrivals === null ? gettext("Loading arrival times.") : gettext("No estimate yet.");
}

/**
 * Return whether a pass is at a distance.
 * @param {{distance: number}} pass
 * @param {number} metres
 */
export function isAt({ distance }, metres) {
  return Math.abs(distance - metres) < SAME_PLACE_M;
}
