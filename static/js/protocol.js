// The typed dialect `spectate.v1`: its messages and their meaning.

import { gettext } from "./language.js";

export const SUBPROTOCOL = "spectate.v1";

/**
 * @typedef {{
 *   t: number, lat: number, lng: number,
 *   speed: number | null, heading: number | null, progress: number | null,
 *   uncertainty?: number | null,
 * }} Fix `uncertainty`: standard deviation of `progress`, m
 * @typedef {(number | null)[]} FixRow [t, lat, lng, speed, heading, progress, uncertainty?]
 * @typedef {{[key: string]: any, type: string}} Message
 * @typedef {{
 *   runners?: string[], races?: string[], public?: boolean, share?: string, pin?: string,
 *   tick: number,
 * }} Follow
 */

/** Close codes after which reconnecting with the same rights would fail again. */
export const FINAL_CLOSE_CODES = new Map([
  [4400, gettext("This page is out of date. Reload it.")],
  [4401, gettext("You were signed out. Sign in again to continue.")],
  [4403, gettext("This is no longer shared with you.")],
]);

/** The socket's rights have ended, and with them the right to see runners. */
export const LOST_CLOSE_CODES = new Set([4401, 4403]);

/** Close codes of an overloaded server, after which to reconnect slowly. */
export const BACK_OFF_CLOSE_CODES = new Set([1013, 4413, 4429]);

/**
 * Return the first message, which requests the contents of this page.
 * @param {Follow} follow
 * @param {string[]} codes runners besides
 * @param {number | null} since `time` of the last frame seen
 */
export function followMessage(follow, codes, since) {
  const runners = [...new Set([...(follow.runners ?? []), ...codes])];
  return {
    type: "follow",
    ...follow,
    ...(runners.length ? { runners } : {}),
    ...(since ? { since } : {}),
  };
}

/**
 * Return the headers with a share link, for HTTP requests.
 * @param {Follow} follow
 * @returns {Record<string, string>}
 */
export function shareHeaders({ share, pin }) {
  if (!share) return {};
  return { "Spectate-Share": share, ...(pin ? { "Spectate-Share-Pin": pin } : {}) };
}

/**
 * Parse a frame. Returns null if its type is unknown.
 * @param {unknown} data
 * @returns {Message | null}
 */
export function parseFrame(data) {
  if (typeof data !== "string") return null;
  try {
    const message = JSON.parse(data);
    return typeof message?.type === "string" ? message : null;
  } catch {
    return null;
  }
}

/**
 * Parse a row. Unknown values are null.
 * @param {FixRow} row
 * @returns {Fix}
 */
export function readFix(
  [t, lat, lng, speed = null, heading = null, progress = null, uncertainty = null],
) {
  return { t: Number(t), lat: Number(lat), lng: Number(lng), speed, heading, progress, uncertainty };
}
