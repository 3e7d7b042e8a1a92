// "Test my phone": polls whether anything has arrived.

import { find } from "./dom.js";

const EVERY_MS = 2000;

const test = find("#test");
let shown = "";

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(/** @type {string} */ (test.dataset.url));
    // Signed out in the meantime: what is shown stays.
    if (!answer.ok || answer.redirected) return;
    const html = await answer.text();
    // Otherwise a screen reader would repeat it every time.
    if (html !== shown) test.innerHTML = shown = html;
  } catch {
    // No connection: the next poll may succeed.
  }
}

setInterval(refresh, EVERY_MS);
document.addEventListener("visibilitychange", refresh);
