// The texts of the panel about my runners besides their rows. Splits are read out.

import { find, setText } from "./dom.js";
import {
  awayWords, categoryWords, finishWords, gapWords, lastCheckpoint, lastSplit, nextCheckpoint,
  nextWords, passWords, phoneWords, probableWords, splitWords,
} from "./facts.js";
import { Here } from "./here.js";
import { gettext } from "./language.js";
import { FINAL, liveness } from "./liveness.js";
import { isAt, Pinned } from "./pinned.js";
import { Speech } from "./speech.js";

/**
 * @typedef {import("./store.js").Runner} Runner
 * @typedef {import("./store.js").Race} Race
 */

/** The tools beside my runners. */
export class Mine {
  pinned;
  #store;
  #arrivals;
  #results;
  #here;
  #tools = find("#mine-tools");
  #speech;

  /** @param {import("./pinned.js").Options & {results: import("./results.js").Results}} options */
  constructor(options) {
    this.#results = options.results;
    this.#store = options.store;
    this.#arrivals = options.arrivals;
    this.#here = new Here({
      onChange: options.onChange, onStand: (place) => this.pinned.stand(place),
    });
    this.pinned = new Pinned(options, this.#here);
    this.#speech = new Speech(find("#read-out"), (sentence) => {
      setText(find("#read-out-says"), sentence);
    });
  }

  /**
   * Return the lines of a runner's card.
   * @param {Runner} runner
   * @param {number} now
   */
  lines(runner, now) {
    const race = this.#store.courseOf(runner);
    const result = this.#results.of(runner);
    return {
      split: lastSplit(runner, race) || this.#lastPass(runner, race),
      next:
        probableWords(this.probable(runner, now)) ||
        nextWords(runner, race, this.#nextArrival(runner, race), now) || categoryWords(result),
      finish: this.finish(runner, race),
      gap: this.#gap(runner, race),
      away: awayWords(runner, this.#here.place),
      phone: phoneWords(runner, now),
    };
  }

  /**
   * Return the probable position of a silent runner, or null.
   * @param {Runner} runner
   * @param {number} now
   */
  probable({ race, code, fix, state, estimated }, now) {
    if (estimated) return estimated.isGivenUp ? null : estimated;
    const isSilent = fix && ["stale", "lost"].includes(liveness(fix.t, now));
    if (!isSilent || FINAL.has(state ?? "")) return null;
    return this.#arrivals.probable(race, code);
  }

  /**
   * Return the next event of any of my runners, such as "Bib 17: 15 km in 11–13 min", or
   * "".
   * @param {number} now
   */
  next(now) {
    const coming = this.#runners.flatMap((runner) => {
      const race = this.#store.courseOf(runner);
      const arrival = this.#nextArrival(runner, race);
      return arrival?.latest ? [{ runner, race, arrival, latest: arrival.latest }] : [];
    });
    const [first] = coming.sort((a, b) => a.latest - b.latest);
    if (!first) return "";
    const { runner, race, arrival } = first;
    const who = runner.bib ? gettext("Bib {bib}", { bib: runner.bib }) : runner.name;
    const finish = this.finish(runner, race);
    return `${who}: ${nextWords(runner, race, arrival, now)}${finish ? ` · ${finish}` : ""}`;
  }

  /** @param {Runner} runner @param {Race | null} race */
  #nextArrival(runner, race) {
    const next = nextCheckpoint(runner, race);
    if (race === null || next === null) return null;
    const all = this.#arrivals.at(
      race.slug, metresOf(next), this.#at(race, next, nextCheckpoint), performance.now(),
    );
    return (
      all?.find(
        (pass) =>
          pass.code === runner.code && pass.status === "expected" && isAt(pass, next.distance),
      ) ?? null
    );
  }

  /**
   * Return when a runner with other checkpoints ahead will finish, or "".
   * @param {Runner} runner
   * @param {Race | null} [race]
   */
  finish(runner, race = this.#store.courseOf(runner)) {
    const next = nextCheckpoint(runner, race);
    const finish = race?.checkpoints.find(({ kind }) => kind === "finish");
    if (!race || !next || !finish || next === finish) return "";
    const isAhead = (/** @type {Runner} */ other) => {
      const ahead = nextCheckpoint(other, race);
      return other.race === race.slug && ahead !== null && ahead !== finish;
    };
    const all = this.#arrivals.at(
      race.slug, metresOf(finish), this.#runners.filter(isAhead).map(({ code }) => code),
      performance.now(),
    );
    const expected = all?.find(
      (pass) =>
        pass.code === runner.code && pass.status === "expected" && isAt(pass, finish.distance),
    );
    return finishWords(finish, expected ?? null);
  }

  // The last split from before this page was opened.
  /** @param {Runner} runner @param {Race | null} race */
  #lastPass(runner, race) {
    const last = lastCheckpoint(runner, race);
    if (race === null || last === null) return "";
    const all = this.#arrivals.at(
      race.slug, metresOf(last), this.#at(race, last, lastCheckpoint), performance.now(),
    );
    const at = passedAt(all, runner, last);
    return at ? passWords(last.name, at) : "";
  }

  // The gap to the next of my runners ahead in the same race, at the same point.
  /** @param {Runner} runner @param {Race | null} race */
  #gap(runner, race) {
    const far = (/** @type {Runner} */ { fix }) => fix?.progress ?? -1;
    const [ahead] = this.#runners
      .filter(({ code, race: of }) => code !== runner.code && of === runner.race)
      .filter((other) => far(other) > far(runner))
      .sort((a, b) => far(a) - far(b));
    if (!race || !ahead) return "";
    const gaps = race.checkpoints
      .filter(({ kind, distance }) => kind !== "start" && distance <= far(runner))
      .slice(-2)
      .flatMap((point) => {
        const passed = this.#runners.filter(
          (other) => other.race === race.slug && far(other) >= point.distance,
        );
        const all = this.#arrivals.at(
          race.slug, metresOf(point), passed.map(({ code }) => code), performance.now(),
        );
        const [own, other] = [runner, ahead].map((of) => passedAt(all, of, point));
        return own && other ? [{ name: point.name, gap: own - other }] : [];
      });
    const last = gaps.pop();
    return last ? gapWords(ahead.name, last, gaps.pop() ?? null) : "";
  }

  /** @type {Runner[]} */
  #runners = [];

  // One request for all of my runners who have the same checkpoint ahead, or behind.
  /**
   * @param {Race} race
   * @param {import("./store.js").Checkpoint} point
   * @param {typeof nextCheckpoint} of
   */
  #at(race, point, of) {
    return this.#runners
      .filter((runner) => runner.race === race.slug && of(runner, race) === point)
      .map(({ code }) => code);
  }

  /**
   * Refresh the tools and the table.
   * @param {Runner[]} runners mine
   * @param {number} now
   */
  render(runners, now) {
    this.#runners = runners;
    this.#tools.hidden = runners.length === 0;
    this.pinned.render(runners, now);
    this.#arrivals.tidy(performance.now());
  }

  /**
   * Read a split out if the visitor has chosen this.
   * @param {Runner} runner
   * @param {import("./store.js").Split} split
   */
  announce(runner, split) {
    const race = this.#store.courseOf(runner);
    if (race) this.#speech.read(`${runner.name}: ${splitWords(split, race)}`);
  }
}

/**
 * Return when a runner passed a checkpoint (ms), or null. In a race of laps the same place
 * is passed again, at a different distance.
 * @param {import("./arrivals.js").Arrival[] | null} passes
 * @param {Runner} runner
 * @param {import("./store.js").Checkpoint} point
 */
function passedAt(passes, { code }, point) {
  const pass = passes?.find(
    (other) =>
      other.code === code && other.status === "passed" && isAt(other, point.distance),
  );
  return pass?.at ?? null;
}

/** @param {import("./store.js").Checkpoint} point */
function metresOf({ distance }) {
  return String(Math.floor(distance));
}
