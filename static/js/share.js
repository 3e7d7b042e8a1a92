// Shares the address of what the page shows, which others can open.

import { gettext } from "./language.js";

/**
 * What an address keeps; `time` is that of the replay in ms, null when live.
 * @typedef {{
 *   runner: string | null, place: import("./polyline.js").LngLat | null,
 *   time: number | null,
 * }} View
 */

/**
 * Return the page's address with the selected runner, the place of the arrivals and the
 * time of the replay.
 * @param {string} page the address, of which the query is replaced
 * @param {View} view
 */
export function addressOf(page, { runner, place, time }) {
  const url = new URL(page);
  url.search = url.hash = "";
  if (runner) url.searchParams.set("runner", runner);
  if (place) url.searchParams.set("place", `${place[1].toFixed(5)},${place[0].toFixed(5)}`);
  if (time !== null) url.searchParams.set("time", new Date(time).toISOString());
  return url.href;
}

/**
 * Return the view of an address. What it does not have is null.
 * @param {string} query
 * @returns {View}
 */
export function viewOf(query) {
  const fields = new URLSearchParams(query);
  const [lat, lng] = (fields.get("place") ?? "").split(",").map(Number);
  const isPlace = Number.isFinite(lat) && Number.isFinite(lng);
  /** @type {import("./polyline.js").LngLat | null} */
  const place = isPlace ? [lng, lat] : null;
  const time = Date.parse(fields.get("time") ?? "");
  return { runner: fields.get("runner") || null, place, time: Number.isNaN(time) ? null : time };
}

/**
 * Open the device's dialog, or copy the address. Returns a sentence for the visitor, or
 * "".
 * @param {string} title
 * @param {string} url
 * @param {string | null} picture the address of a picture to share with it
 */
export async function share(title, url, picture) {
  try {
    if (typeof navigator.share === "function") {
      const files = picture ? await filesOf(picture) : [];
      const more = files.length && navigator.canShare?.({ files }) ? { files } : {};
      await navigator.share({ title, url, ...more });
      return "";
    }
    await navigator.clipboard.writeText(url);
    return gettext("The link is copied.");
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return "";
    return gettext("Copy this link: {link}", { link: url });
  }
}

/** @param {string} picture */
async function filesOf(picture) {
  // The device's dialog opens only shortly after the press of the button.
  const response = await fetch(picture, { signal: AbortSignal.timeout(3000) }).catch(() => null);
  if (!response?.ok) return [];
  return [new File([await response.blob()], "result.png", { type: "image/png" })];
}
