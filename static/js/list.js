// The list beside the map, which shows all runners of the map and is usable by keyboard.

import { find, setAttribute, setText } from "./dom.js";
import { ordinal, orderKey, ranks } from "./facts.js";
import { distance, label, pace, textOn } from "./format.js";
import { gettext, language, ngettext } from "./language.js";
import { dataState, describe } from "./liveness.js";

// Limit of rows in the document. Search finds the other runners.
const ROW_LIMIT = 200;
// How often ranks are computed and rows reordered by them, which would otherwise move away
// from a finger.
const RANK_EVERY_MS = 5000;

const names = new Intl.Collator(language, { numeric: true, sensitivity: "base" });

/**
 * `onPick` is called when a runner is selected, `onStar` when the star is pressed.
 * @typedef {import("./store.js").Runner} Runner
 * @typedef {import("./results.js").Result} Result
 * @typedef {{
 *   split?: string, next: string, finish?: string, gap?: string, away?: string, phone?: string,
 * }} Lines
 * @typedef {{onPick: (code: string) => void, onStar: (code: string) => void}} Handlers
 */

/** Cards of the followed runners, and rows of all other runners. */
export class RunnerList {
  #list = find("#list");
  #mine = find("#mine");
  #everyone = find("#everyone");
  #search = /** @type {HTMLInputElement} */ (find("#search"));
  #empty = find("#empty");
  #template = /** @type {HTMLTemplateElement} */ (find("#row"));
  /** @type {Map<string, Row>} by code */
  #rows = new Map();
  // Rows of the server-rendered page, which stay until the script's rows exist.
  #served = find("#everyone ul").childElementCount > 0;
  /** @type {string | undefined} the code of the row of everyone that the tab key stops at */
  #stop;
  /** @type {Runner[]} everyone, as they stand */
  #order = [];
  /** @type {Runner[] | null} those who were ordered last */
  #ordered = null;
  /** @typedef {Map<string, number>} Ranks */
  /**
   * @type {{
   *   at: number, runners: number, all: Ranks, group: import("./groups.js").Group | null,
   *   inGroup: Ranks,
   * }} `runners`: how many there were
   */
  #ranks = { at: -Infinity, runners: 0, all: new Map(), group: null, inGroup: new Map() };
  // The ranks by which everyone stands.
  #orderedBy = this.#ranks;
  /** @type {Map<string, {name: string, bib: string | null, text: string}>} by code */
  #texts = new Map();
  #icons;
  #handlers;

  /** @param {Handlers & {icons: string, onSearch: () => void}} options */
  constructor({ icons, onPick, onStar, onSearch }) {
    this.#icons = icons;
    this.#handlers = { onPick, onStar };
    this.#search.addEventListener("input", onSearch);
    this.#search.addEventListener("keydown", (event) => {
      const first = this.#list.querySelector(".runner");
      if (!(first instanceof HTMLElement)) return;
      if (event.key === "Enter") onPick(first.dataset.runner ?? "");
      if (event.key === "ArrowDown") this.#focus(first, ".pick", event);
    });
    this.#list.addEventListener("keydown", (event) => this.#walk(event));
  }

  /** Return whether the list is still the server-rendered one. */
  get isServed() {
    return this.#served;
  }

  /**
   * Update the list to the server's `now`.
   * @param {Runner[]} runners
   * @param {{
   *   follows: import("./follows.js").Follows, oneRunner: string | null,
   *   selected: string | null, now: number, emptySentence: string,
   *   lines: (runner: Runner, now: number) => Lines | null,
   *   result: (runner: Runner) => Result | null,
   *   ended: (runner: Runner) => import("./liveness.js").Ended,
   *   group: import("./groups.js").Group | null,
   * }} view `lines`: what a card says more; `result`: of a finisher; `group`: whose rows
   *   are shown, with their ranks in it
   */
  render(runners, { follows, oneRunner, selected, now, emptySentence, lines, result, ended, group }) {
    const wanted = this.#search.value.trim().toLocaleLowerCase();
    const isFound = (/** @type {Runner} */ runner) => !wanted || this.#text(runner).includes(wanted);
    const isCard = (/** @type {Runner} */ { code }) =>
      follows.has(code) || code === oneRunner;
    const inGroup = (/** @type {Runner} */ { code }) => !group || group.has(code);
    const mine = runners.filter((runner) => isCard(runner) && isFound(runner));
    mine.sort(byName);
    // Everybody keeps their place while a search or a group hides some.
    const { all: places, inGroup: placesInGroup } = this.#ranked(runners, group);
    const rankOf = (/** @type {Runner} */ runner) =>
      runner.state === "finished" ? result(runner)?.rank : places.get(runner.code);
    // A search among the same runners leaves the order as it is.
    if (runners !== this.#ordered) this.#sort(runners, rankOf, now);
    const ordered = this.#order
      .filter((runner) => !isCard(runner) && inGroup(runner) && isFound(runner));
    const shown = ordered.slice(0, ROW_LIMIT);
    this.#assignRows([...mine, ...shown]);
    /** @param {Runner} runner @param {number | null | undefined} rank @param {Lines | null} [more] */
    const show = (runner, rank, more = null) => {
      const row = this.#row(runner.code);
      row.showMore(more, rank);
      row.show(runner, {
        followed: follows.has(runner.code),
        selected: runner.code === selected,
        now,
        ended: ended(runner),
      });
    };
    for (const runner of mine) {
      show(runner, rankOf(runner), lines(runner, now));
    }
    for (const runner of shown) {
      const ranked = runner.state === "finished" ? group : placesInGroup;
      show(runner, group ? ranked?.get(runner.code) : rankOf(runner));
    }
    if (this.#served) find("ul", this.#everyone).replaceChildren();
    this.#served = false;
    keepingFocus(() => {
      this.#place(this.#mine, mine);
      this.#place(this.#everyone, shown);
    });
    this.#setStops(mine, shown);
    count(this.#mine, mine.length);
    count(this.#everyone, ordered.length);
    const more = find(".more", this.#everyone);
    const hidden = ordered.length - ROW_LIMIT;
    more.hidden = hidden <= 0;
    setText(more, ngettext(
      "{count} more: search for a name or a bib.", "{count} more: search for a name or a bib.", hidden,
    ));
    this.#empty.hidden = mine.length + ordered.length > 0;
    // Without rows it may have nothing whose focus scrolls it.
    this.#list.tabIndex = this.#empty.hidden ? -1 : 0;
    setText(
      this.#empty,
      wanted && runners.length
        ? gettext("No runner here has “{text}” in their name or bib.", { text: wanted })
        : emptySentence,
    );
  }

  /**
   * Scroll to a runner's row.
   *
   * @param {string} code
   */
  reveal(code) {
    this.#rows.get(code)?.element.scrollIntoView({ block: "nearest" });
  }

  // Rows that are no longer needed become those of new runners, because making hundreds of
  // them for each letter of a search takes long. A row with the focus is not reused: the
  // focus would be on a different runner.
  /** @param {Runner[]} runners */
  #assignRows(runners) {
    const needed = new Set(runners.map(({ code }) => code));
    const spare = [];
    for (const [code, row] of this.#rows) {
      if (needed.has(code)) continue;
      this.#rows.delete(code);
      if (row.element.contains(document.activeElement)) row.element.remove();
      else spare.push(row);
    }
    let reused = 0;
    for (const code of needed) {
      if (this.#rows.has(code)) continue;
      const row = spare[reused++] ?? this.#newRow();
      row.code = row.element.dataset.runner = code;
      this.#rows.set(code, row);
    }
    for (const { element } of spare.slice(reused)) element.remove();
  }

  #newRow() {
    const element = find(".runner", this.#template.content).cloneNode(true);
    return new Row(/** @type {HTMLElement} */ (element), this.#icons, this.#handlers);
  }

  /** @param {string} code */
  #row(code) {
    const row = this.#rows.get(code);
    if (!row) throw new Error(`Runner ${code} has no row.`);
    return row;
  }

  /**
   * @param {Runner[]} runners
   * @param {import("./groups.js").Group | null} group
   */
  #ranked(runners, group) {
    const time = performance.now();
    const known = this.#ranks;
    const isOld = time - known.at >= RANK_EVERY_MS || runners.length !== known.runners;
    if (!isOld && group === known.group) return known;
    const [at, all] = isOld ? [time, ranks(runners)] : [known.at, known.all];
    const inGroup = group ? ranks(runners.filter(({ code }) => group.has(code))) : all;
    this.#ranks = { at, runners: runners.length, all, group, inGroup };
    return this.#ranks;
  }

  /**
   * Return what a search compares.
   * @param {Runner} runner
   */
  #text({ name, bib, code }) {
    let kept = this.#texts.get(code);
    if (!kept || kept.name !== name || kept.bib !== bib) {
      kept = { name, bib, text: [name, bib ?? "", code].join("\n").toLocaleLowerCase() };
      this.#texts.set(code, kept);
    }
    return kept.text;
  }

  /**
   * Sort everyone by the ranks that the rows show, lost signals last. Unchanged while
   * somebody uses the list.
   * @param {Runner[]} runners
   * @param {(runner: Runner) => number | null | undefined} rankOf
   * @param {number} now
   */
  #sort(runners, rankOf, now) {
    this.#ordered = runners;
    runners = this.#asTheyStand(runners);
    const isBusy = this.#list.matches(":hover, :focus-within");
    if (!isBusy && this.#orderedBy !== this.#ranks) {
      // The list is nearly sorted already, so sorting is fast.
      const keys = new Map(
        runners.map((runner) => [
          runner, orderKey(runner, rankOf(runner), dataState(runner, now) === "lost"),
        ]),
      );
      const key = (/** @type {Runner} */ runner) => keys.get(runner) ?? 0;
      runners.sort((a, b) => key(a) - key(b) || byProgress(a, b));
      this.#orderedBy = this.#ranks;
    }
    this.#order = runners;
  }

  // New runners come last.
  /** @param {Runner[]} runners */
  #asTheyStand(runners) {
    const left = new Map(runners.map((runner) => [runner.code, runner]));
    /** @type {Runner[]} */
    const staying = [];
    for (const { code } of this.#order) {
      const runner = left.get(code);
      if (runner && left.delete(code)) staying.push(runner);
    }
    return [...staying, ...[...left.values()].sort(byProgress)];
  }

  // Arrow keys move between rows, and the list has one tab stop, because the map follows
  // hundreds of rows.
  /** @param {KeyboardEvent} event */
  #walk(event) {
    const from = event.target instanceof Element ? event.target.closest(".runner") : null;
    if (!from) return;
    const rows = [...this.#list.querySelectorAll(".runner")];
    const at = rows.indexOf(from);
    const keys = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 };
    const to = rows[keys[/** @type {keyof typeof keys} */ (event.key)] ?? -1];
    const isStar = document.activeElement?.matches(".star");
    if (to instanceof HTMLElement) this.#focus(to, isStar ? ".star" : ".pick", event);
  }

  /** @param {HTMLElement} row @param {string} part @param {KeyboardEvent} event */
  #focus(row, part, event) {
    event.preventDefault();
    if (this.#everyone.contains(row)) {
      this.#rows.get(this.#stop ?? "")?.setStop(false);
      this.#stop = row.dataset.runner;
      this.#rows.get(this.#stop ?? "")?.setStop(true);
    }
    find(part, row).focus();
  }

  /** @param {Runner[]} mine @param {Runner[]} shown */
  #setStops(mine, shown) {
    if (!shown.some(({ code }) => code === this.#stop)) this.#stop = shown[0]?.code;
    for (const { code } of mine) this.#rows.get(code)?.setStop(true);
    for (const { code } of shown) this.#rows.get(code)?.setStop(code === this.#stop);
  }

  /** @param {HTMLElement} section @param {Runner[]} runners */
  #place(section, runners) {
    section.hidden = runners.length === 0;
    const list = find("ul", section);
    let next = list.firstElementChild;
    for (const { code } of runners) {
      const { element } = this.#row(code);
      if (element === next) next = next.nextElementSibling;
      else list.insertBefore(element, next);
    }
  }
}

const PARTS = [
  "pick", "bib", "name", "rank", "distance", "pace", "next", "finish", "gap", "split", "away", "phone",
  "words", "star",
];

class Row {
  /** @type {Record<string, HTMLElement>} */
  #parts = {};
  #icons;
  #isStop = true;

  // That of the runner whose row this is.
  code = "";

  /**
   * @param {HTMLElement} element
   * @param {string} icons
   * @param {Handlers} handlers
   */
  constructor(element, icons, { onPick, onStar }) {
    this.element = element;
    this.#icons = icons;
    for (const part of PARTS) {
      this.#parts[part] = find(`.${part}`, element);
    }
    this.#parts.shape = find(".state use", element);
    this.#parts.pick.addEventListener("click", () => onPick(this.code));
    this.#parts.star.addEventListener("click", () => onStar(this.code));
  }

  /**
   * Set whether the tab key stops at this row.
   * @param {boolean} isStop
   */
  setStop(isStop) {
    if (this.#isStop === isStop) return;
    this.#isStop = isStop;
    for (const part of ["pick", "star"]) this.#parts[part].tabIndex = isStop ? 0 : -1;
  }

  /**
   * Show the rank, and texts that only a card has room for.
   * @param {Lines | null} lines
   * @param {number | null | undefined} rank
   */
  showMore(lines, rank) {
    setText(this.#parts.rank, rank ? ordinal(rank) : "");
    for (const name of /** @type {const} */ (["split", "next", "finish", "gap", "away", "phone"])) {
      setText(this.#parts[name], lines?.[name] ?? "");
    }
  }

  /**
   * @param {Runner} runner
   * @param {{
   *   followed: boolean, selected: boolean, now: number,
   *   ended: import("./liveness.js").Ended,
   * }} view
   */
  show(runner, { followed, selected, now, ended }) {
    const { element } = this;
    const { pick, bib, name, shape, words, star } = this.#parts;
    const described = describe(runner, now, ended);
    if (element.dataset.state !== described.state) element.dataset.state = described.state;
    if (element.dataset.shape !== described.shape) {
      element.dataset.shape = described.shape;
      shape.setAttribute("href", `${this.#icons}#${described.shape}`);
    }
    setText(bib, label(runner));
    bib.classList.toggle("long", label(runner).length > 3);
    if (element.dataset.colour !== runner.colour) {
      element.dataset.colour = runner.colour;
      bib.style.backgroundColor = runner.colour;
      bib.style.color = textOn(runner.colour);
    }
    setText(name, runner.name);
    setText(words, described.words);
    setFigure(this.#parts.distance, distance(runner.fix?.progress ?? null, runner.fix?.uncertainty));
    const speed = isMoving(described) ? (runner.fix?.speed ?? null) : null;
    setFigure(this.#parts.pace, pace(speed));
    setAttribute(star, "aria-pressed", String(followed));
    setAttribute(star, "aria-label", gettext("Follow {name}", { name: runner.name }));
    setAttribute(star, "title", followed ? gettext("Stop following") : gettext("Follow"));
    setAttribute(pick, "aria-current", String(selected));
    element.classList.toggle("selected", selected);
  }
}

/**
 * Return whether the pace is current. An old pace would be misread as current.
 * @param {{state: string}} described
 */
function isMoving({ state }) {
  return state === "live" || state === "delayed";
}

/** @param {Runner} a @param {Runner} b */
function byName(a, b) {
  return names.compare(a.name, b.name) || names.compare(a.code, b.code);
}

/** @param {Runner} a @param {Runner} b */
function byProgress(a, b) {
  return (b.fix?.progress ?? -1) - (a.fix?.progress ?? -1) || byName(a, b);
}

/** @param {HTMLElement} section @param {number} number */
function count(section, number) {
  setText(find(".count", section), String(number));
}

/** @param {HTMLElement} element @param {import("./format.js").Figure | null} figure */
function setFigure(element, figure) {
  const text = figure ? `${figure.value} ${figure.unit}` : "";
  if (element.dataset.text === text) return;
  element.dataset.text = text;
  element.replaceChildren();
  if (!figure) return;
  const value = document.createElement("b");
  value.textContent = figure.value;
  element.append(value, ` ${figure.unit}`);
}

/**
 * Make a change and restore the focus, which a moved node loses.
 * @param {() => void} change
 */
function keepingFocus(change) {
  const focused = document.activeElement;
  change();
  const isMoved = focused !== document.activeElement && focused?.isConnected;
  if (isMoved && focused instanceof HTMLElement) {
    focused.focus({ preventScroll: true });
  }
}
