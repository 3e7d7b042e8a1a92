// Standings that refresh automatically. Without this script the page keeps its rows, and
// the form's button reloads it.

import { offerChoices } from "./chooser.js";
import { ServerClock } from "./clock.js";
import { find, setText } from "./dom.js";
import { duration } from "./format.js";
import { gettext, language, ngettext } from "./language.js";

// The intervals of polls before the start and during the race. There are none after it.
const WAITING_MS = 30_000;
const RUNNING_MS = 5_000;
// How long after the last key press the search starts.
const TYPING_MS = 300;
const DAY_MS = 86_400_000;

const shown = find("#standings");
const form = /** @type {HTMLFormElement | null} */ (document.querySelector("#filters"));
const start = /** @type {HTMLTimeElement | null} */ (document.querySelector("#start"));

let etag = "";
let requests = 0;

/** Fetch the shown part again. Only the newest request's response counts. */
async function refresh() {
  const number = ++requests;
  const url = new URL(location.href);
  url.searchParams.set("part", "1");
  try {
    /** @type {HeadersInit} */
    const headers = etag ? { "If-None-Match": etag } : {};
    const answer = await fetch(url, { headers, cache: "no-store" });
    if (number !== requests || !answer.ok) return;
    etag = answer.headers.get("ETag") ?? "";
    show(await answer.text());
  } catch {
    // There is no connection. The rows stay, and the next poll may succeed.
  }
}

/** @param {string} html made by our own template */
function show(html) {
  const focused = shown.contains(document.activeElement) ? document.activeElement : null;
  const href = focused?.getAttribute("href");
  shown.innerHTML = html;
  offerChoices();
  if (href) {
    /** @type {HTMLElement | null} */ (shown.querySelector(`a[href="${CSS.escape(href)}"]`))?.focus({ preventScroll: true });
  }
}

/** Show the form's selection at an address that can be shared. */
async function applyFilters() {
  if (!form) return;
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (value && !(name === "by" && value === "gun")) query.set(name, String(value));
  }
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  etag = "";
  await refresh();
  const rows = shown.querySelectorAll("tbody tr").length;
  setText(find("#says"), ngettext("{count} runner", "{count} runners", rows));
}

if (form) {
  let typing = 0;
  find("#apply").hidden = true;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    applyFilters();
  });
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(applyFilters, TYPING_MS);
  });
}

const gun = start ? Date.parse(start.dateTime) : 0;
const clock = new ServerClock(start ? Number(start.dataset.now) : Date.now());

function poll() {
  setTimeout(
    async () => {
      if (!document.hidden) await refresh();
      poll();
    },
    clock.now() < gun ? WAITING_MS : RUNNING_MS,
  );
}

offerChoices();

if (shown.dataset.live !== "over") {
  poll();
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
}

if (start) {
  const countdown = find("#countdown");
  const here = new Date(gun).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  if (!start.textContent?.includes(here)) start.append(`, ${gettext("{time} your time", { time: here })}`);
  const tick = () => {
    const left = gun - clock.now();
    // Include the date in races of several days.
    if (left > DAY_MS) return;
    setText(countdown, left > 0
      ? gettext("In {span}", { span: duration(left) })
      : gettext("{span} since the start", { span: duration(-left) }));
  };
  tick();
  setInterval(tick, 1000);
}
