// The scripts of a runner's own pages. The pages work without them.

import { find } from "./dom.js";
import { moment } from "./format.js";
import { gettext } from "./language.js";

// How long the device may take to find its position.
const LOCATE_WAIT_MS = 20_000;

/**
 * @template {Element} E
 * @param {string} selector
 * @param {new () => E} kind
 * @returns {E[]}
 */
function all(selector, kind) {
  const found = [...document.querySelectorAll(selector)];
  return /** @type {E[]} */ (found.filter((element) => element instanceof kind));
}

/** @param {string} id */
function input(id) {
  return /** @type {HTMLInputElement} */ (find(`#${id}`));
}

for (const time of all("time[data-local]", HTMLTimeElement)) {
  time.title = time.textContent ?? "";
  time.textContent = moment(Date.parse(time.dateTime));
}

const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
for (const field of all("[data-zone]", HTMLInputElement)) field.value = timeZone;

for (const button of all("[data-copy]", HTMLButtonElement)) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}

for (const button of all("[data-share]", HTMLButtonElement)) {
  if (!navigator.share) continue;
  button.hidden = false;
  button.addEventListener("click", () => {
    // Closing the sheet of choices cancels the change.
    navigator.share({ url: input(button.dataset.share ?? "").value }).catch(() => {});
  });
}

if (navigator.geolocation && document.querySelector(".locate")) {
  find(".locate").hidden = find("#locate").hidden = false;
  find("#locate").addEventListener("click", locate);
}

for (const button of all("#zone-map-open", HTMLButtonElement)) {
  button.hidden = false;
  find(".locate").hidden = false;
  button.addEventListener("click", () => openMap(button));
}

for (const radius of all("#zone_radius", HTMLInputElement)) {
  radius.addEventListener("input", () => showWithstood(Number(radius.value)));
}

for (const name of all("#id_name", HTMLInputElement)) {
  name.addEventListener("input", () => {
    input("id_code").placeholder = suggestedCode(name.value);
  });
}

/**
 * Show what a zone of the largest measured radius up to this one withstands.
 * @param {number} radius
 */
function showWithstood(radius) {
  const texts = all("[data-zone-radius]", HTMLElement);
  const measured = texts.map((text) => Number(text.dataset.zoneRadius));
  const largest = Math.max(...measured.filter((each) => each <= radius), Math.min(...measured));
  texts.forEach((text, index) => (text.hidden = measured[index] !== largest));
}

/**
 * Return the code that the server would derive from a name, unless it is taken.
 * @param {string} name
 */
function suggestedCode(name) {
  const plain = name.normalize("NFKD").replace(/[^\w\s-]/g, "").toLowerCase();
  return plain.trim().replace(/[-\s]+/g, "-").slice(0, 36);
}

/** @param {HTMLButtonElement} button */
async function copy(button) {
  const field = input(button.dataset.copy ?? "");
  const output = find("[role=status]", button.parentElement ?? document);
  try {
    await navigator.clipboard.writeText(field.value);
    output.textContent = gettext("Copied.");
  } catch {
    field.select();
    output.textContent = gettext("Press Ctrl C, or hold to copy.");
  }
}

// Loaded on request, because the map's library is larger than the page.
/** @param {HTMLButtonElement} button */
async function openMap(button) {
  button.disabled = true;
  try {
    const { openZoneMap } = await import("./zonemap.js");
    await openZoneMap();
    button.hidden = true;
  } catch (error) {
    console.info(`${error}`);
    find("#locate-says").textContent = gettext("This browser cannot draw the map. Type the place instead.");
    for (const part of all("#zone-map, #zone-map-help", HTMLElement)) part.hidden = true;
  }
}

function locate() {
  const output = find("#locate-says");
  output.textContent = gettext("Looking for your position.");
  navigator.geolocation.getCurrentPosition(
    ({ coords }) => {
      input("zone_lat").value = coords.latitude.toFixed(5);
      input("zone_lng").value = coords.longitude.toFixed(5);
      // The map follows.
      input("zone_lng").dispatchEvent(new Event("input"));
      output.textContent = gettext("Found, accurate to {count} m.", { count: Math.round(coords.accuracy) });
    },
    ({ code }) => {
      output.textContent =
        code === GeolocationPositionError.PERMISSION_DENIED
          ? gettext("This browser may not use your position. Type the place instead.")
          : gettext("Your position was not found. Try again, or type it.");
    },
    { enableHighAccuracy: true, timeout: LOCATE_WAIT_MS },
  );
}
