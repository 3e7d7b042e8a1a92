// Sentences that explain why a runner, or all runners, cannot be seen.

import { clockTime } from "./format.js";
import { gettext } from "./language.js";

// The same as on the server (runners/models/race.py).
const SHOWN_BEFORE_START_MS = 3_600_000;

/**
 * Return the sentence for an `event` of kind `access`.
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
      // The reader cannot tell revoked from blocked.
      return gettext("{name} is no longer shared with you.", { name });
  }
}

/**
 * Return the sentence for a share link that ended while its page was open.
 * @param {{expires: number}} link ms
 * @param {number} now the server's time
 */
export function linkEndedSentence({ expires }, now) {
  return now >= expires
    ? gettext("This link expired at {time}. Ask for a new one.", { time: clockTime(expires) })
    : gettext("This link was revoked. Ask for a new one.");
}

/**
 * Return the sentence for a connected page without runners.
 * @param {{oneRunner: string | null, race: {start: number, ends: number} | null}} page ms
 * @param {number} now the server's time
 */
export function nobodySentence({ oneRunner, race }, now) {
  if (oneRunner) return gettext("Nothing to see here yet. The map starts with the first position.");
  if (race === null) {
    return gettext("Nobody is sharing right now. Runs appear here as soon as somebody starts.");
  }
  if (now >= race.ends) return gettext("This race is over. Its runners are no longer shown.");
  if (now < race.start - SHOWN_BEFORE_START_MS) {
    return gettext("Runners can be seen from one hour before the start.");
  }
  return gettext("Nobody is on the start list yet.");
}
