// Shares the address of what the page shows, which others can open.

import { gettext } from "./language.js";

/**
 * Return the page's address with the selected runner and the place of the arrivals.
 * @param {string} page the address, of which the query is replaced
 * @param {{runner: string | null, place: import("./polyline.js").LngLat | null}} view
 */
export function addressOf(page, { runner, place }) {
  const url = new URL(page);
  url.search = url.hash = "";
  if (runner) url.searchParams.set("runner", runner);
  if (place) url.searchParams.set("place", `${place[1].toFixed(5)},${place[0].toFixed(5)}`);
  return url.href;
}

/**
 * Return the runner and the place of an address. Either is null if it has none.
 * @param {string} query
 */
export function viewOf(query) {
  const fields = new URLSearchParams(query);
  const [lat, lng] = (fields.get("place") ?? "").split(",").map(Number);
  const isPlace = Number.isFinite(lat) && Number.isFinite(lng);
  /** @type {import("./polyline.js").LngLat | null} */
  const place = isPlace ? [lng, lat] : null;
  return { runner: fields.get("runner") || null, place };
}

/**
 * Open the device's dialog, or copy the address. Returns a sentence for the visitor, or
 * "".
 * @param {string} title
 * @param {string} url
 */
export async function share(title, url) {
  try {
    if (typeof navigator.share === "function") {
      await navigator.share({ title, url });
      return "";
    }
    await navigator.clipboard.writeText(url);
    return gettext("The link is copied.");
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return "";
    return gettext("Copy this link: {link}", { link: url });
  }
}
