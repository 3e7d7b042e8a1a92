// Why something cannot be seen any more, in words.

import { clockTime } from "./format.js";

const SENTENCES = new Map([
  ["private", "is private now."],
  ["expired", "has stopped sharing."],
  ["deleted", "is no longer here."],
]);

/**
 * What an `event` of kind `access` means.
 *
 * @param {string} name of the runner
 * @param {string} reason
 */
export function lostSentence(name, reason) {
  // Revoked and blocked are the same to whoever reads it.
  return `${name} ${SENTENCES.get(reason) ?? "is no longer shared with you."}`;
}

/**
 * Why a share link ended while its page was open.
 *
 * @param {{expires: number}} link ms
 * @param {number} now the server's time
 */
export function linkEndedSentence({ expires }, now) {
  return now >= expires
    ? `This link expired at ${clockTime(expires)}. Ask for a new one.`
    : "This link was revoked. Ask for a new one.";
}
