// What the page says, from what it knows.

import { age } from "../format.js";

// A position that reached the server longer ago is news no more. ms.
const FRESH = 30_000;

/**
 * `doing`: what the runner wants; `trouble`: why there is no place; `refused`: the
 * code of what was not taken just now; `reached`: when the server last took a position,
 * `now` its clock.
 *
 * @typedef {"ready" | "recording" | "paused" | "stopped"} Doing
 * @typedef {{
 *   doing: Doing, trouble: import("./geolocation.js").Trouble | null, located: boolean,
 *   status: import("../connection.js").Status, waiting: number, refused: string | null,
 *   reached: number | null, now: number,
 * }} View
 * @typedef {"live" | "delayed" | "stale" | "alarm"} Tone
 * @typedef {{tone: Tone, headline: string, detail: string}} Said
 */

/** @type {Record<import("./geolocation.js").Trouble, Said>} */
const TROUBLES = {
  denied: {
    tone: "alarm",
    headline: "No permission",
    detail: "This page may not know where you are. Allow it the precise location in the browser’s settings, then start again.",
  },
  unavailable: {
    tone: "delayed",
    headline: "No position",
    detail: "This device finds no place. Go outside, and see that its location is on. It keeps looking.",
  },
  insecure: {
    tone: "alarm",
    headline: "Not a secure page",
    detail: "Browsers tell a place to https: pages only. Ask for the https: address of this site.",
  },
  missing: {
    tone: "alarm",
    headline: "No location in this browser",
    detail: "Use another browser, or an app.",
  },
};

/** Why positions were not taken, by the server's code. */
const REFUSALS = new Map([
  ["sharing.paused", "Your sharing is paused or has ended: what is recorded now is not kept. Go on sharing on your page."],
  ["zone.hidden", "You are in one of your privacy zones: these positions are not kept."],
  ["position.future", "This device’s clock is fast: its positions come from the future. Set it."],
  ["position.erased", "Positions from before you erased yours are not taken again."],
]);

/** @param {string} code */
export function refusal(code) {
  return REFUSALS.get(code) ?? `Some positions were not taken (${code}).`;
}

/**
 * What an error of the server means to the runner; "" for nothing.
 *
 * @param {string} code
 * @param {string} detail
 */
export function troubleWith(code, detail) {
  // A long backlog goes out bit by bit: the count that waits shows it.
  if (code === "rate.limited") return "";
  if (code === "store.unavailable") return "The server cannot store anything just now. Your positions are kept here.";
  return detail;
}

/** @param {number} count */
export function positions(count) {
  return count === 1 ? "1 position" : `${count.toLocaleString("en")} positions`;
}

/**
 * The state in a headline and a sentence.
 *
 * @param {View} view
 * @returns {Said}
 */
export function say(view) {
  const { doing, trouble, located, status, waiting } = view;
  if (status.state === "ended") return saidAtTheEnd(view);
  if (trouble && trouble !== "unavailable") return TROUBLES[trouble];
  if (doing === "ready") {
    return { tone: "stale", headline: "Ready", detail: "Start when you do. Nothing is recorded before." };
  }
  if (doing === "paused") {
    return {
      tone: "stale",
      headline: "Paused",
      detail: `Nothing is recorded. Who follows you sees your last place grow older. ${left(waiting)}`.trim(),
    };
  }
  if (doing === "stopped") {
    return waiting
      ? { tone: "delayed", headline: "Stopped", detail: left(waiting) }
      : { tone: "stale", headline: "Stopped", detail: "Everything has reached us." };
  }
  if (trouble) return TROUBLES[trouble];
  if (!located) {
    return { tone: "delayed", headline: "Looking for your place", detail: "This may take a minute. It is quicker outside." };
  }
  return saidWhileRecording(view);
}

/** @param {View} view @returns {Said} */
function saidWhileRecording({ status, waiting, refused, reached, now }) {
  const last = reached === null ? "" : `Your last position reached us ${age(now - reached)} ago.`;
  if (status.state !== "open") {
    return {
      tone: "delayed",
      headline: "Recording, no connection",
      detail: `${positions(waiting)} kept here until there is one. ${last}`.trim(),
    };
  }
  if (refused) {
    return { tone: "delayed", headline: "Recording, not shared", detail: refusal(refused) };
  }
  if (reached !== null && now - reached < FRESH) {
    return { tone: "live", headline: "Sharing", detail: last };
  }
  if (!waiting) {
    return { tone: "delayed", headline: "No new position", detail: `This device finds no place just now. ${last}`.trim() };
  }
  return {
    tone: "delayed",
    headline: "Recording",
    detail: `The server has not confirmed the latest positions yet. ${last}`.trim(),
  };
}

/** @param {View} view @returns {Said} */
function saidAtTheEnd({ status, waiting }) {
  const kept = waiting ? ` ${positions(waiting)} kept here for the next one of the same runner.` : "";
  if (status.code === 4401) {
    return {
      tone: "alarm",
      headline: "No longer allowed",
      detail: `Its token was revoked or has expired.${kept}`,
    };
  }
  return { tone: "alarm", headline: "Cannot go on", detail: `${status.detail ?? ""}${kept}` };
}

/** @param {number} waiting */
function left(waiting) {
  if (!waiting) return "";
  return `${positions(waiting)} still to send: leave this page open until they are.`;
}
