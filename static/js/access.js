// Why something cannot be seen any more, in words.

import { clockTime } from "./format.js";
import { gettext } from "./language.js";

/**
 * What an `event` of kind `access` means.
 *
 * @param {string} name of the runner
 * @param {string} reason
 */
export function lostSentence(name, reason) {
  switch (reason) {
    case "private":
      return gettext("{name} is private now.", { name });
    case "expired":
      return gettext("{name} has stopped sharing.", { name });
    case "deleted":
      return gettext("{name} is no longer here.", { name });
    default:
      // Revoked and blocked are the same to whoever reads it.
      return gettext("{name} is no longer shared with you.", { name });
  }
}

/**
 * Why a share link ended while its page was open.
 *
 * @param {{expires: number}} link ms
 * @param {number} now the server's time
 */
export function linkEndedSentence({ expires }, now) {
  return now >= expires
    ? gettext("This link expired at {time}. Ask for a new one.", { time: clockTime(expires) })
    : gettext("This link was revoked. Ask for a new one.");
}
