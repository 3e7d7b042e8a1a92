// The difference between this device's clock and the server's.

import { gettext } from "../language.js";

// Smaller differences are network delay, or harmless.
const TOLERATED_MS = 10_000;

/**
 * Return the correction of this device's times in ms, 0 for an accurate clock.
 * @param {number} serverTime as a frame just said
 * @param {number} deviceTime now
 */
export function correction(serverTime, deviceTime) {
  const offset = serverTime - deviceTime;
  return Math.abs(offset) > TOLERATED_MS ? Math.round(offset) : 0;
}

/**
 * Return the correction as a sentence, or "" for none.
 * @param {number} offset ms
 */
export function inWords(offset) {
  if (offset === 0) return "";
  const seconds = Math.round(Math.abs(offset) / 1000);
  const span =
    seconds < 60
      ? `${seconds} s`
      : seconds < 3600
        ? `${Math.round(seconds / 60)} min`
        : `${Math.round(seconds / 3600)} h`;
  return offset < 0
    ? gettext("This device’s clock is {span} fast. Times are corrected.", { span })
    : gettext("This device’s clock is {span} slow. Times are corrected.", { span });
}
