// "Test my phone": polls whether a position has arrived.

import { find } from "./dom.js";

const EVERY_MS = 2000;

const test = find("#test");
let shown = "";

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(/** @type {string} */ (test.dataset.url));
    // The user has signed out meanwhile, so the page stays as it is.
    if (!answer.ok || answer.redirected) return;
    const html = await answer.text();
    // Otherwise a screen reader would repeat the text every time.
    if (html !== shown) test.innerHTML = shown = html;
  } catch {
    // There is no connection. The next poll may succeed.
  }
}

setInterval(refresh, EVERY_MS);
document.addEventListener("visibilitychange", refresh);
