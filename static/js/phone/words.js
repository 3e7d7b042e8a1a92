// The texts of the page by its state.

import { age } from "../format.js";
import { gettext, ngettext } from "../language.js";

// Older positions are not mentioned.
const FRESH_MS = 30_000;

/**
 * `doing`: the runner's choice. `trouble`: why there is no position. `refused`: the code
 * of the last refusal. `reached`: when the server last stored a position, by the clock of
 * `now`.
 * @typedef {"ready" | "recording" | "paused" | "stopped"} Doing
 * @typedef {{
 *   doing: Doing, trouble: import("./geolocation.js").Trouble | null, located: boolean,
 *   status: import("../connection.js").Status, waiting: number, refused: string | null,
 *   reached: number | null, now: number,
 * }} View
 * @typedef {"live" | "delayed" | "stale" | "alarm"} Tone
 * @typedef {{tone: Tone, headline: string, detail: string}} StateText
 */

/** @type {Record<import("./geolocation.js").Trouble, StateText>} */
const TROUBLES = {
  denied: {
    tone: "alarm",
    headline: gettext("No permission"),
    detail: gettext("This page may not use your location. Allow the precise location in the browser’s settings, then start again."),
  },
  unavailable: {
    tone: "delayed",
    headline: gettext("No position"),
    detail: gettext("This device cannot find its position. Go outside, and check that its location is on. It keeps searching."),
  },
  insecure: {
    tone: "alarm",
    headline: gettext("Not a secure page"),
    detail: gettext("Browsers share the position with https: pages only. Ask for the https: address of this site."),
  },
  missing: {
    tone: "alarm",
    headline: gettext("No location in this browser"),
    detail: gettext("Use a different browser, or an app."),
  },
};

/** Reasons for refused positions, by the server's code. */
const REFUSALS = new Map([
  ["sharing.paused", gettext("Your sharing is paused or has ended: positions recorded now are not stored. Resume sharing on your page.")],
  ["zone.hidden", gettext("You are in one of your privacy zones: these positions are not stored.")],
  ["position.future", gettext("This device’s clock is fast: its positions are in the future. Correct the clock.")],
  ["position.erased", gettext("Positions from before you deleted yours are refused.")],
]);

/** @param {string} code */
export function refusal(code) {
  return REFUSALS.get(code) ?? gettext("Some positions were refused ({code}).", { code });
}

/**
 * Return a server error as a sentence for the runner, or "".
 * @param {string} code
 * @param {string} detail
 */
export function troubleWith(code, detail) {
  // A long backlog is sent in parts, as its count shows.
  if (code === "rate.limited") return "";
  if (code === "store.unavailable") return gettext("The server cannot store anything at the moment. Your positions are kept here.");
  return detail;
}

/** @param {number} count */
export function positions(count) {
  return ngettext("{count} position", "{count} positions", count);
}

/**
 * Return the state as a headline and a sentence.
 * @param {View} view
 * @returns {StateText}
 */
export function describeState(view) {
  const { doing, trouble, located, status, waiting } = view;
  if (status.state === "ended") return describeEnd(view);
  if (trouble && trouble !== "unavailable") return TROUBLES[trouble];
  if (doing === "ready") {
    return { tone: "stale", headline: gettext("Ready"), detail: gettext("Press Start when you start. Nothing is recorded before.") };
  }
  if (doing === "paused") {
    return {
      tone: "stale",
      headline: gettext("Paused"),
      detail: sentences(
        gettext("Nothing is recorded. Your followers see your last position grow older."), left(waiting),
      ),
    };
  }
  if (doing === "stopped") {
    return waiting
      ? { tone: "delayed", headline: gettext("Stopped"), detail: left(waiting) }
      : { tone: "stale", headline: gettext("Stopped"), detail: gettext("Everything has arrived.") };
  }
  if (trouble) return TROUBLES[trouble];
  if (!located) {
    return { tone: "delayed", headline: gettext("Looking for your position"), detail: gettext("This may take a minute. It is quicker outside.") };
  }
  return textWhileRecording(view);
}

/** @param {View} view @returns {StateText} */
function textWhileRecording({ status, waiting, refused, reached, now }) {
  const last = reached === null ? "" : gettext("Your last position arrived {age} ago.", { age: age(now - reached) });
  if (status.state !== "open") {
    return {
      tone: "delayed",
      headline: gettext("Recording, no connection"),
      detail: sentences(
        gettext("{positions} kept here until there is one.", { positions: positions(waiting) }), last,
      ),
    };
  }
  if (refused) {
    return { tone: "delayed", headline: gettext("Recording, not shared"), detail: refusal(refused) };
  }
  if (reached !== null && now - reached < FRESH_MS) {
    return { tone: "live", headline: gettext("Sharing"), detail: last };
  }
  if (!waiting) {
    return {
      tone: "delayed",
      headline: gettext("No new position"),
      detail: sentences(gettext("This device cannot find its position at the moment."), last),
    };
  }
  return {
    tone: "delayed",
    headline: gettext("Recording"),
    detail: sentences(gettext("The server has not confirmed the latest positions yet."), last),
  };
}

/** @param {View} view @returns {StateText} */
function describeEnd({ status, waiting }) {
  const kept = waiting
    ? gettext("{positions} kept here for the next token of the same runner.", { positions: positions(waiting) })
    : "";
  if (status.code === 4401) {
    return {
      tone: "alarm",
      headline: gettext("No longer allowed"),
      detail: sentences(gettext("Its token was revoked or has expired."), kept),
    };
  }
  return { tone: "alarm", headline: gettext("Cannot continue"), detail: sentences(status.detail ?? "", kept) };
}

/** @param {number} waiting */
function left(waiting) {
  if (!waiting) return "";
  return ngettext(
    "{count} position still to send: leave this page open until it is sent.",
    "{count} positions still to send: leave this page open until they are sent.",
    waiting,
  );
}

/** @param {string[]} all */
function sentences(...all) {
  return all.filter(Boolean).join(" ");
}
