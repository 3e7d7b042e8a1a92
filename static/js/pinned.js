// A place of the course that the visitor has pinned, and when my runners pass it.

import { Callout } from "./callout.js";
import { find, setText } from "./dom.js";
import { rangeWords } from "./facts.js";
import { clockTime, distanceWords, label, minuteRange } from "./format.js";
import { gettext } from "./language.js";
import { metresBetween } from "./metres.js";
import { obstacle } from "./notify/push.js";
import { walkWords } from "./walk.js";

const WARNED = "spectate.arrivals";
// Passes within this distance belong to the same place: they are computed to the metre,
// and found on the map to some metres.
const SAME_PLACE_M = 60;
// A longer table is not readable.
const ROW_LIMIT = 12;
// A place that laps pass more often has no distances as its title.
const MOST_NAMED = 2;
// Where the course comes by more often, all passes within this distance count.
const STAND_REACH_M = 30;

/**
 * @typedef {import("./store.js").Runner} Runner
 * @typedef {import("./store.js").Race} Race
 * @typedef {import("./polyline.js").LngLat} LngLat
 * @typedef {import("./arrivals.js").Arrival} Arrival
 * @typedef {{race: Race, place: LngLat, passes: number[]}} Pin
 * @typedef {{
 *   store: import("./store.js").Store, arrivals: import("./arrivals.js").Arrivals,
 *   onChange: () => void, onPin: (place: LngLat | null) => void, onAll: () => void,
 *   headers: Record<string, string>, canWarn: boolean,
 * }} Options `onAll`: show the whole table; `headers`: of the page's share link
 * @typedef {{race: string, distances: number[], runners: string[]}} Warned
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
  #says = find("#warn-says");
  #callout;
  #here;
  #headers;
  #obstacle = obstacle();
  /** @type {string[]} my runners in the race of the pin */
  #codes = [];
  /** @type {Warned | null} what the server knows */
  #sent = null;
  #isSending = false;
  #placesOf = "";

  /** @param {Options} options @param {import("./here.js").Here} here */
  constructor({ store, arrivals, onChange, onPin, onAll, headers, canWarn }, here) {
    this.#here = here;
    this.#headers = headers;
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
    if (!canWarn) this.#warn.parentElement?.remove();
    else setText(this.#says, this.#obstacle);
    this.#warn.disabled = Boolean(this.#obstacle) || !canWarn;
    this.#warn.addEventListener("change", () => this.#setWarn());
    this.#callout = new Callout({
      onAll: () => {
        onAll();
        this.#table.scrollIntoView({ block: "nearest" });
      },
      onWarn: () => this.#warn.click(),
      onClose: () => this.#close(),
    });
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
   * Pin the nearest place of a course.
   * @param {LngLat} here where the visitor stands
   */
  stand(here) {
    const races = [...this.#store.races.values()];
    const [nearest] = races
      .flatMap((race) => (race.along ? [{ race, place: race.along.place(race.along.nearestTo(here)) }] : []))
      .sort((a, b) => metresBetween(a.place, here) - metresBetween(b.place, here));
    if (nearest) this.point(nearest.place, STAND_REACH_M);
  }

  /**
   * Refresh the places and the table.
   * @param {Runner[]} runners mine
   * @param {number} now
   */
  render(runners, now) {
    this.#offerPlaces();
    this.#renderTable(runners, now);
    if (this.#pin) this.#updateWarn();
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
    this.#restore();
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
    if (this.#pin && this.#warn.checked) {
      this.#warn.checked = false;
      this.#setWarn();
    }
    this.#pin = pin;
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
    if (this.#pin === null) return this.#callout.render(null);
    const { race, place, passes } = this.#pin;
    const isOften = passes.length > MOST_NAMED;
    const where = isOften ? gettext("Arrivals here") : passes.map(distanceWords).join(", ");
    setText(
      find("#arrivals-at"),
      isOften ? where : gettext("Arrival times at {places}", { places: where }),
    );
    const codes = runners.filter((runner) => runner.race === race.slug).map(({ code }) => code);
    this.#codes = codes;
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
    const texts = rows.map((arrival) => this.#textsOf(arrival, many, now));
    texts.forEach(({ who, when, at }, n) => {
      [who, when, at].forEach((text, cell) => setText(body.children[n].children[cell], text));
    });
    const empty = emptyWords(codes.length, arrivals);
    find("#arrivals-empty").hidden = rows.length > 0;
    setText(find("#arrivals-empty"), empty);
    const first = rows.find(({ status }) => status === "expected");
    const walk = walkWords(this.#here.place, place, first?.earliest ?? null, now);
    setText(find("#arrivals-walk"), walk);
    this.#callout.render({
      where, rows: texts, empty, walk, warned: this.#warn.checked, canWarn: !this.#warn.disabled,
    });
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

  /** @param {Arrival} arrival @param {boolean} many @param {number} now */
  #textsOf(arrival, many, now) {
    const runner = this.#store.runners.get(arrival.code);
    const who = runner ? (runner.bib ? `${label(runner)} ${runner.name}` : runner.name) : arrival.code;
    const isExpected = arrival.status === "expected";
    const { earliest, latest, at } = arrival;
    const times = isExpected && earliest !== null && latest !== null
      ? minuteRange(earliest, latest)
      : at !== null ? clockTime(at) : "";
    return {
      who: many ? `${who}, ${distanceWords(arrival.distance)}` : who,
      // The callout is narrow.
      short: many ? `${(runner && label(runner)) || who}, ${distanceWords(arrival.distance)}` : who,
      when: isExpected ? rangeWords(arrival, now) : (STATUS_WORDS[arrival.status] ?? ""),
      at: times,
    };
  }

  // -- notifications before a pass

  /** The passes and runners of which this browser is notified. */
  get #choice() {
    const { race, passes } = /** @type {Pin} */ (this.#pin);
    return { race: race.slug, distances: passes, runners: this.#codes };
  }

  async #setWarn() {
    const wanted = this.#warn.checked ? this.#choice : null;
    await this.#send(wanted ?? { ...this.#choice, runners: [] });
  }

  // Runners may have been starred, or not any more.
  #updateWarn() {
    const { runners = [] } = this.#sent ?? {};
    const isChanged =
      this.#codes.some((code) => !runners.includes(code)) ||
      runners.some((code) => this.#store.runners.has(code) && !this.#codes.includes(code));
    if (this.#warn.checked && !this.#isSending && isChanged) this.#send(this.#choice);
  }

  /** @param {Warned} choice */
  async #send(choice) {
    this.#isSending = true;
    setText(this.#says, "");
    try {
      const { notifyBefore } = await import("./notify/arrivals.js");
      await notifyBefore(choice, this.#headers);
      this.#sent = choice.runners.length ? choice : null;
    } catch (error) {
      this.#sent = null;
      this.#warn.checked = false;
      setText(this.#says, error instanceof Error ? error.message : String(error));
    }
    keep(this.#sent);
    this.#isSending = false;
    this.#onChange();
  }

  // The place of which this browser is notified, on a page that was opened again.
  #restore() {
    const sent = kept();
    const race = this.#store.races.get(sent?.race ?? "");
    if (this.#pin || !sent || !race?.along) return;
    this.#sent = sent;
    const { distances } = sent;
    this.#setPin({ race, place: race.along.place(distances[0]), passes: distances });
    this.#warn.checked = !this.#obstacle;
  }
}

/** @returns {Warned | null} */
function kept() {
  try {
    return JSON.parse(localStorage.getItem(WARNED) ?? "null");
  } catch {
    return null;
  }
}

/** @param {Warned | null} sent */
function keep(sent) {
  try {
    if (sent) localStorage.setItem(WARNED, JSON.stringify(sent));
    else localStorage.removeItem(WARNED);
  } catch {
    // Without storage, a page that is opened again does not show the choice.
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
