// The list beside the map: everything the map says, for every runner, by keyboard too.

import { distance, label, pace, textOn } from "./format.js";
import { describe } from "./liveness.js";

// Rows in the document; those beyond are found by searching.
const MOST_ROWS = 500;
// How often rows may change places: more often they run from under the pointer. ms.
const REORDER_EVERY = 5000;

const names = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/**
 * Cards of the followed runners and rows of everyone else.
 *
 * `onPick(code)` when a runner is chosen, `onStar(code)` when the star is pressed.
 */
export class RunnerList {
  #list = document.querySelector("#list");
  #mine = document.querySelector("#mine");
  #everyone = document.querySelector("#everyone");
  #search = document.querySelector("#search");
  #empty = document.querySelector("#empty");
  #template = document.querySelector("#row");
  #rows = new Map(); // code → Row
  #order = []; // codes of everyone, as they stand
  #orderedAt = -Infinity;
  #icons;
  #handlers;

  constructor({ icons, onPick, onStar, onSearch }) {
    this.#icons = icons;
    this.#handlers = { onPick, onStar };
    this.#search.addEventListener("input", onSearch);
  }

  /** Bring the list up to date with the runners (an array) at the server's `now`. */
  render(runners, { follows, selected, now, emptySentence }) {
    const wanted = this.#search.value.trim().toLocaleLowerCase();
    const found = runners.filter((runner) => matches(runner, wanted));
    const mine = found.filter(({ code }) => follows.has(code));
    const others = found.filter(({ code }) => !follows.has(code));
    mine.sort(byName);
    const ordered = this.#ordered(others);
    const shown = ordered.slice(0, MOST_ROWS);

    for (const runner of [...mine, ...shown]) {
      this.#row(runner.code).show(runner, {
        followed: follows.has(runner.code),
        selected: runner.code === selected,
        now,
      });
    }
    keepingFocus(() => {
      const kept = new Set([...mine, ...shown].map(({ code }) => code));
      for (const [code, row] of this.#rows) {
        if (kept.has(code)) continue;
        row.element.remove();
        this.#rows.delete(code);
      }
      this.#place(this.#mine, mine);
      this.#place(this.#everyone, shown);
    });
    count(this.#mine, mine.length);
    count(this.#everyone, others.length);
    const more = this.#everyone.querySelector(".more");
    more.hidden = ordered.length <= MOST_ROWS;
    more.textContent = `${ordered.length - MOST_ROWS} more: search for a name or a bib.`;
    this.#empty.hidden = found.length > 0;
    setText(
      this.#empty,
      wanted && runners.length ? `No runner here has “${wanted}” in name or bib.` : emptySentence,
    );
  }

  /** Scroll to a runner's row. */
  reveal(code) {
    this.#rows.get(code)?.element.scrollIntoView({ block: "nearest" });
  }

  #row(code) {
    let row = this.#rows.get(code);
    if (!row) {
      const element = this.#template.content.firstElementChild.cloneNode(true);
      row = new Row(element, code, this.#icons, this.#handlers);
      this.#rows.set(code, row);
    }
    return row;
  }

  // In the order of the race, else by name; as it stands while someone is in the list.
  #ordered(runners) {
    const time = performance.now();
    const busy = this.#list.matches(":hover, :focus-within");
    const known = new Map(this.#order.map((code, index) => [code, index]));
    if (busy || time - this.#orderedAt < REORDER_EVERY) {
      const place = ({ code }) => known.get(code) ?? Infinity;
      runners.sort((a, b) => place(a) - place(b) || byProgress(a, b));
    } else {
      runners.sort(byProgress);
      this.#orderedAt = time;
    }
    this.#order = runners.map(({ code }) => code);
    return runners;
  }

  #place(section, runners) {
    section.hidden = runners.length === 0;
    const list = section.querySelector("ul");
    let next = list.firstElementChild;
    for (const { code } of runners) {
      const { element } = this.#rows.get(code);
      if (element === next) next = next.nextElementSibling;
      else list.insertBefore(element, next);
    }
  }
}

class Row {
  #parts = {};
  #icons;

  constructor(element, code, icons, { onPick, onStar }) {
    this.element = element;
    this.#icons = icons;
    element.dataset.runner = code;
    for (const part of ["pick", "bib", "name", "distance", "pace", "words", "star"]) {
      this.#parts[part] = element.querySelector(`.${part}`);
    }
    this.#parts.shape = element.querySelector(".state use");
    this.#parts.pick.addEventListener("click", () => onPick(code));
    this.#parts.star.addEventListener("click", () => onStar(code));
  }

  show(runner, { followed, selected, now }) {
    const { element } = this;
    const { pick, bib, name, shape, words, star } = this.#parts;
    const described = describe(runner, now);
    if (element.dataset.state !== described.state) element.dataset.state = described.state;
    if (element.dataset.shape !== described.shape) {
      element.dataset.shape = described.shape;
      shape.setAttribute("href", `${this.#icons}#${described.shape}`);
    }
    setText(bib, label(runner));
    if (element.dataset.colour !== runner.colour) {
      element.dataset.colour = runner.colour;
      bib.style.backgroundColor = runner.colour;
      bib.style.color = textOn(runner.colour);
    }
    setText(name, runner.name);
    setText(words, described.words);
    setFigure(this.#parts.distance, distance(runner.fix?.progress ?? null));
    setFigure(this.#parts.pace, isMoving(described) ? pace(runner.fix.speed) : null);
    setAttribute(star, "aria-pressed", String(followed));
    setAttribute(star, "aria-label", `Follow ${runner.name}`);
    setAttribute(star, "title", followed ? "Stop following" : "Follow");
    setAttribute(pick, "aria-current", String(selected));
    element.classList.toggle("selected", selected);
  }
}

// A pace from minutes ago would be read as the pace now.
function isMoving({ state }) {
  return state === "live" || state === "delayed";
}

function matches({ name, bib, code }, wanted) {
  if (!wanted) return true;
  return [name, bib ?? "", code].some((text) => text.toLocaleLowerCase().includes(wanted));
}

function byName(a, b) {
  return names.compare(a.name, b.name) || names.compare(a.code, b.code);
}

function byProgress(a, b) {
  return (b.fix?.progress ?? -1) - (a.fix?.progress ?? -1) || byName(a, b);
}

function count(section, number) {
  setText(section.querySelector(".count"), String(number));
}

// Elements are written to only when something changed: hundreds of rows, every second.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

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

// A node that is moved in the document loses the focus.
function keepingFocus(change) {
  const focused = document.activeElement;
  change();
  if (focused !== document.activeElement && focused?.isConnected) {
    focused.focus({ preventScroll: true });
  }
}
