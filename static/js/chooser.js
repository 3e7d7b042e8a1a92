// Lets the visitor choose units and time zone, and applies the choice to server-rendered
// text.

import { chooseImperial, chooseOwnClock, isImperial, isOwnClock, onChoice, useRaceZone } from "./choices.js";
import { find, setText } from "./dom.js";
import { clockTime, distanceWords, pace } from "./format.js";
import { gettext } from "./language.js";

let isOffered = false;

/** Apply the choices, also to parts of the page that were replaced. */
export function offerChoices() {
  for (const button of document.querySelectorAll("[data-units]")) {
    if (!(button instanceof HTMLElement)) continue;
    button.hidden = false;
    button.onclick = () => chooseImperial(!isImperial());
  }
  for (const line of document.querySelectorAll("[data-zone]")) {
    if (!(line instanceof HTMLElement)) continue;
    const { zone = "", at } = line.dataset;
    const differs = useRaceZone(zone, Number(at));
    const button = find("button", line);
    button.hidden = !differs;
    if (line.id === "zone") line.hidden = !differs;
    button.onclick = () => chooseOwnClock(!isOwnClock());
  }
  if (!isOffered) onChoice(showChosen);
  isOffered = true;
  showChosen();
}

function showChosen() {
  const units = isImperial() ? gettext("Show kilometres") : gettext("Show miles");
  for (const button of document.querySelectorAll("[data-units]")) setText(button, units);
  for (const line of document.querySelectorAll("[data-zone]")) {
    if (line instanceof HTMLElement && !find("button", line).hidden) updateZoneLine(line);
  }
  for (const element of document.querySelectorAll("[data-metres]")) {
    const sign = element.textContent?.startsWith("+") ? "+" : "";
    setText(element, `${sign}${distanceWords(Number(element.getAttribute("data-metres")))}`);
  }
  for (const element of document.querySelectorAll("[data-pace]")) {
    const figure = pace(1 / Number(element.getAttribute("data-pace")));
    if (figure) setText(element, `${figure.value} ${figure.unit}`);
  }
  for (const element of document.querySelectorAll("[data-clock]")) {
    setText(element, clockTime(Number(element.getAttribute("data-clock"))));
  }
}

/** @param {HTMLElement} line */
function updateZoneLine(line) {
  const place = (line.dataset.zone ?? "").split("/").pop()?.replaceAll("_", " ") ?? "";
  setText(
    find("span", line),
    isOwnClock()
      ? gettext("Times of day are those of your clock.")
      : gettext("Times of day are {place} time.", { place }),
  );
  setText(
    find("button", line),
    isOwnClock() ? gettext("Show {place} time", { place }) : gettext("Show your own"),
  );
}
