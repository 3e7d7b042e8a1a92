// "Test my phone": looks again and again whether anything has come.

import { find } from "./dom.js";

const EVERY = 2000; // milliseconds

const test = find("#test");
let shown = "";

async function lookAgain() {
  if (document.hidden) return;
  try {
    const answer = await fetch(/** @type {string} */ (test.dataset.url));
    // Signed out meanwhile: what is shown stays.
    if (!answer.ok || answer.redirected) return;
    const html = await answer.text();
    // Else a screen reader would say it again every time.
    if (html !== shown) test.innerHTML = shown = html;
  } catch {
    // No connection: the next look may have one.
  }
}

setInterval(lookAgain, EVERY);
document.addEventListener("visibilitychange", lookAgain);
