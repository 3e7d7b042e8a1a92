// The typed dialect `spectate.v1`: what goes over the wire and what it means.

import { gettext } from "./language.js";

export const SUBPROTOCOL = "spectate.v1";

/**
 * @typedef {{
 *   t: number, lat: number, lng: number,
 *   speed: number | null, heading: number | null, progress: number | null,
 * }} Fix
 * @typedef {(number | null)[]} FixRow [t, lat, lng, speed, heading, progress]
 * @typedef {{[key: string]: any, type: string}} Message
 * @typedef {{
 *   runners?: string[], races?: string[], public?: boolean, share?: string, pin?: string,
 *   tick: number,
 * }} Follow
 */

/** Close codes after which coming back as we were would only end the same way. */
export const FINAL_CLOSE_CODES = new Map([
  [4400, gettext("This page is out of date. Reload it.")],
  [4401, gettext("You were signed out. Sign in again to go on.")],
  [4403, gettext("This is no longer shared with you.")],
]);

/** What the socket stood on is gone, and with it the right to see anything. */
export const LOST_CLOSE_CODES = new Set([4401, 4403]);

/** Close codes of a server with too much to do: come back slowly. */
export const BACK_OFF_CLOSE_CODES = new Set([1013, 4413, 4429]);

/**
 * The first message: what this page shows, since when.
 *
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
 * The headers that name a share link, for requests beside the websocket.
 *
 * @param {Follow} follow
 * @returns {Record<string, string>}
 */
export function shareHeaders({ share, pin }) {
  if (!share) return {};
  return { "Spectate-Share": share, ...(pin ? { "Spectate-Share-Pin": pin } : {}) };
}

/**
 * Read a frame; null if it is nothing we know how to read.
 *
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
 * Read a row; what is unknown is null.
 *
 * @param {FixRow} row
 * @returns {Fix}
 */
export function readFix([t, lat, lng, speed = null, heading = null, progress = null]) {
  return { t: Number(t), lat: Number(lat), lng: Number(lng), speed, heading, progress };
}
