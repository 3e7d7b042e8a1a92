// A hint on a first visit: what a star does. It goes once somebody is followed, or on
// request, and does not come back.

import { find } from "./dom.js";

const KEY = "spectate.hint";

/**
 * Show the hint to visitors who follow nobody and have not closed it.
 * @param {import("./follows.js").Follows} follows
 */
export function offerHint(follows) {
  const hint = document.querySelector("#hint");
  if (!(hint instanceof HTMLElement) || follows.codes().length || wasClosed()) return;
  hint.hidden = false;
  const close = () => {
    hint.hidden = true;
    try {
      localStorage.setItem(KEY, "closed");
    } catch {
      // Without storage it is shown again on the next visit.
    }
  };
  find("button", hint).addEventListener("click", () => {
    close();
    find("#list").focus();
  });
  find("#list").addEventListener("click", ({ target }) => {
    if (target instanceof Element && target.closest(".star")) close();
  });
}

function wasClosed() {
  try {
    return localStorage.getItem(KEY) !== null;
  } catch {
    return true;
  }
}
