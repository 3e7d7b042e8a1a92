// The callout on the map, at the place of which the visitor has asked.

import { find, setText } from "./dom.js";

// More would cover the map; the panel has all.
const ROW_LIMIT = 3;

/** The next arrivals at the pinned place, as a short form of the table in the panel. */
export class Callout {
  #element = find("#callout");
  #warn = /** @type {HTMLButtonElement} */ (find("#callout-warn"));

  /** @param {{onAll: () => void, onWarn: () => void, onClose: () => void}} actions */
  constructor({ onAll, onWarn, onClose }) {
    find("#callout-all").addEventListener("click", onAll);
    this.#warn.addEventListener("click", onWarn);
    find("#callout-close").addEventListener("click", onClose);
    this.#element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      onClose();
    });
  }

  /**
   * Show the first rows of the table, as they are now; without any, a sentence.
   * @param {{
   *   where: string, rows: {short: string, when: string, at: string}[], empty: string,
   *   walk: string, warned: boolean, canWarn: boolean,
   * } | null} answer null: no place is pinned
   */
  render(answer) {
    this.#element.toggleAttribute("data-pinned", answer !== null);
    if (answer === null) return;
    const { where, rows, empty, walk, warned, canWarn } = answer;
    setText(find("#callout-where"), where);
    const list = find("#callout-rows");
    const texts = rows.slice(0, ROW_LIMIT).map(({ short, when, at }) => [short, when, at]);
    const key = JSON.stringify(texts);
    if (list.dataset.shown !== key) {
      list.dataset.shown = key;
      list.replaceChildren(...texts.map(rowOf));
    }
    setText(find("#callout-empty"), rows.length ? "" : empty);
    setText(find("#callout-walk"), walk);
    find("#callout-all").hidden = rows.length <= ROW_LIMIT;
    this.#warn.hidden = !canWarn || rows.length === 0;
    this.#warn.setAttribute("aria-pressed", String(warned));
  }
}

/** @param {string[]} texts */
function rowOf(texts) {
  const row = document.createElement("li");
  row.append(
    ...texts.map((text, n) => {
      const part = document.createElement(n === 1 ? "b" : "span");
      part.textContent = text;
      return part;
    }),
  );
  return row;
}
