// Lists of races: distances in the visitor's unit, and the races that a search finds.

import { offerChoices } from "./chooser.js";
import { find } from "./dom.js";

offerChoices();

/**
 * Hide the races whose names do not have all words of a field. The link to all races
 * then searches for them on the server.
 * @param {HTMLInputElement} field
 */
export function searchRaces(field) {
  const all = /** @type {HTMLAnchorElement} */ (find("#races .all-races a"));
  const show = () => {
    const text = field.value.trim();
    for (const section of document.querySelectorAll("#races .races")) {
      const races = [.../** @type {NodeListOf<HTMLElement>} */ (section.querySelectorAll(".race"))];
      for (const race of races) race.hidden = !hasWords(race.dataset.race ?? "", text);
      section.toggleAttribute("hidden", races.every(({ hidden }) => hidden));
    }
    all.search = text ? new URLSearchParams({ q: text }).toString() : "";
  };
  field.addEventListener("input", show);
  show();
}

/**
 * Return whether a name has all words of a text, as on the server (views/overview.py).
 * @param {string} name
 * @param {string} text
 */
function hasWords(name, text) {
  const folded = name.toLocaleLowerCase();
  return text.toLocaleLowerCase().split(/\s+/).every((word) => folded.includes(word));
}
