// Notifications of this browser shortly before my runners pass a place, also while no page
// is open.

import { device } from "../phone/account.js";
import { answer } from "./bell.js";
import { storePage, subscribe, subscription } from "./push.js";

const STATE = "/notifications/bell.json";
const CHOOSE = "/notifications/arrivals/";

/**
 * Replace the passes of which this browser is notified. Throws an error with a sentence.
 * The first call must be made while a button is pressed.
 * @param {{race: string, distances: number[], runners: string[]}} choice no runners: none
 * @param {Record<string, string>} headers those of the page's share link
 */
export async function notifyBefore(choice, headers) {
  // Ask at once: browsers forbid it some seconds after the press of the button.
  const isWanted = choice.runners.length > 0;
  if (isWanted) await Notification.requestPermission();
  const { csrf, key } = await answer(fetch(STATE));
  const push = isWanted ? await subscribe(key) : await subscription();
  if (push === null) return;
  if (headers["Spectate-Share"]) await storePage(choice.runners);
  await answer(
    fetch(CHOOSE, {
      method: "POST",
      headers: { "X-CSRFToken": csrf, "Content-Type": "application/json", ...headers },
      body: JSON.stringify({ ...choice, push, device: device(navigator.userAgent) }),
    }),
  );
}
