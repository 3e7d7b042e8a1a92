// The data that the server puts into the live page.

import { find } from "../dom.js";

/**
 * Times are in ms (runners/views/live.py).
 * @typedef {{
 *   socket: string, poll: string, first: string | null, track: string, eta: string,
 *   standings: string, palette: string[], replay: string | null,
 *   follow: import("../protocol.js").Follow, ownFollows: boolean,
 *   oneRunner: string | null, race: {slug: string, start: number, ends: number} | null,
 *   zone: {name: string, at: number} | null, courses: Record<string, any>[],
 *   link: {expires: number} | null, time: number,
 *   account: import("../follows.js").Account | null, mode: "" | "screen" | "embed",
 *   map: import("../map/open.js").Config | null, icons: string, card: string | null,
 *   heights: {race: string, values: number[]} | null,
 * }} Page
 */

/** @returns {Page} */
export function readPage() {
  return JSON.parse(find("#page").textContent ?? "");
}
