// The race-day desk: polls the activity of phones, and shows the runners who need
// attention.

import { find, setAttribute, setText } from "../dom.js";
import { liveness } from "../liveness.js";
import { actButton, element } from "./elements.js";
import { Calls } from "./sos.js";

const EVERY_MS = 4000; // between two polls
const MINUTE_MS = 60_000;
const LOW_BATTERY_PERCENT = 20;
const COARSE_M = 50;
/** @type {Record<string, string>} */
const SHAPES = { live: "●", delayed: "◐", stale: "○", lost: "◌", "no fix yet": "–" };

/**
 * @typedef {object} Row one entry, or one phone of nobody who is entered; times in ms
 * @property {number} id
 * @property {string} [bib]
 * @property {string} name
 * @property {string} code
 * @property {number} runner
 * @property {string} [wave]
 * @property {string} [status]
 * @property {boolean} [accepted]
 * @property {string} [token]
 * @property {number | null} fix
 * @property {number | null} contact
 * @property {number | null} battery
 * @property {number | null} accuracy
 * @property {string | null} source
 * @property {[lng: number, lat: number]} [place] for those who may change the race
 * @property {number | null} [progress]
 * @property {string | null} [state]
 * @property {number} phones
 * @property {string} app
 * @property {number | null} heard
 * @property {number} refused
 * @property {Record<string, number>} reasons
 * @property {string} reason
 * @property {number | null} refused_at
 * @property {boolean} [tested] for those who issue tokens, of runners whom they manage
 * @property {{checkpoint: string, seconds?: number, metres?: number} | null} [disagrees]
 *
 * @typedef {{
 *   time: number, entries: Row[], unassigned: Row[], sos: import("./sos.js").Sos[],
 * }} Desk
 */

/** @param {Row} row */
function isOut({ status }) {
  return ["dnf", "dns", "dsq", "finished"].includes(status ?? "");
}

/**
 * Return whether nothing usable has arrived for `silence`.
 * @param {Row} row @param {number} now @param {number} silence ms
 */
export function isSilent({ fix }, now, silence) {
  return fix !== null && now - fix >= silence;
}

/**
 * Return whether points were refused within `silence`.
 * @param {Row} row @param {number} now @param {number} silence ms
 */
export function isRefused({ refused_at }, now, silence) {
  return refused_at !== null && now - refused_at < Math.max(silence, 10 * MINUTE_MS);
}

/** Whether the newest position is a simulated one. @param {Row} row */
const isMock = ({ source }) => Boolean(source?.endsWith(" mock"));

/** The app of a runner's phone; whether it simulates positions. @param {Row} row */
export function appOf(row) {
  const app = row.app || row.source || (row.phones ? "not heard of yet" : "no phone");
  return isMock(row) ? `${app}: simulated position` : app;
}

/**
 * Return whether a row matches the filter.
 * @param {Row} row
 * @param {string} show an option of the page
 * @param {number} now ms, by the server's clock
 * @param {number} silence ms
 * @returns {boolean}
 */
export function belongs(row, show, now, silence) {
  const out = isOut(row);
  switch (show) {
    case "silent":
      return !out && isSilent(row, now, silence);
    case "never":
      return !out && row.fix === null;
    case "publishing":
      return row.fix !== null && now - row.fix < silence;
    case "refused":
      return row.refused > 0;
    case "battery":
      return row.battery !== null && row.battery < LOW_BATTERY_PERCENT;
    case "coarse":
      return row.accuracy !== null && row.accuracy > COARSE_M;
    case "off_course":
      return !out && row.state === "off_course";
    case "disagrees":
      return Boolean(row.disagrees);
    case "nophone":
      return row.phones === 0;
    case "untested":
      return !out && row.tested === false;
    case "out":
      return out;
    case "trouble":
      return (
        !out &&
        ["silent", "never", "battery", "coarse", "off_course"]
          .some((one) => belongs(row, one, now, silence)) ||
        (!out && (isRefused(row, now, silence) || isMock(row))) ||
        belongs(row, "disagrees", now, silence)
      );
    default:
      return true;
  }
}

/** Return a duration as text with one number. @param {number} ms */
export function long(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/**
 * Return the refusals and their reason in one line.
 * @param {Row} row @param {number} now
 */
export function refusal(row, now) {
  if (!row.refused) return "";
  const reasons = Object.entries(row.reasons)
    .sort(([, one], [, other]) => other - one)
    .map(([code, count]) => `${count} ${code}`)
    .join(", ");
  const last = row.refused_at === null ? "" : `, last ${long(now - row.refused_at)} ago`;
  return `${row.refused} refused: ${reasons}${last}. ${row.reason}`;
}

/**
 * Return where the phone and the chip of a runner disagree.
 * @param {Row} row
 */
export function disagreement({ disagrees }) {
  if (!disagrees) return "";
  const { checkpoint, seconds = 0, metres } = disagrees;
  if (metres !== undefined) {
    return `phone ${(metres / 1000).toFixed(1)} km away when the chip was at ${checkpoint}`;
  }
  const side = seconds > 0 ? "after" : "before";
  return `phone ${long(Math.abs(seconds) * 1000)} ${side} the chip at ${checkpoint}`;
}

/**
 * @typedef {{key: string, kind: string, bib: string, place: [lng: number, lat: number]}} Spot
 */

/**
 * Return where those are who need attention: each once, by the most urgent reason.
 * @param {Desk} desk
 * @param {(row: Row, kind: string) => boolean} belongs
 * @returns {Spot[]}
 */
export function spotsOf({ entries, sos }, belongs) {
  const calls = sos.flatMap(({ id, bib, name, lat, lng }) =>
    lat === null || lng === null
      ? []
      : [{ key: `s${id}`, kind: "calls for help", bib: bib ?? name, place: /** @type {[number, number]} */ ([lng, lat]) }],
  );
  const calling = new Set(sos.map(({ runner }) => runner));
  const others = entries.flatMap((row) => {
    const kind = belongs(row, "off_course") ? "off course" : belongs(row, "silent") ? "silent" : "";
    if (!row.place || !kind || calling.has(row.runner)) return [];
    return [{ key: `e${row.id}`, kind, bib: row.bib ?? row.name, place: row.place }];
  });
  return [...calls, ...others];
}

/**
 * Return the state of a runner's signal, and its text. A finisher needs no signal.
 * @param {Row} row @param {number} now
 */
export function signalOf({ status, fix, contact, heard, tested }, now) {
  if (status === "finished") return { state: "finished", words: "⚑ finished" };
  if (fix === null) {
    const test = tested ? ", phone tested" : "";
    return { state: "no fix yet", words: `${SHAPES["no fix yet"]} no fix yet${test}` };
  }
  const state = liveness(fix, now);
  const last = Math.max(contact ?? 0, heard ?? 0);
  // The phone sends, but without a position, which is a different fault than silence.
  const other = last - fix > MINUTE_MS ? `, contact ${long(now - last)}` : "";
  return { state, words: `${SHAPES[state]} ${state} ${long(now - fix)}${other}` };
}

class DeskPage {
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  /** @type {Desk | null} */
  #desk = null;
  #read = 0; // ms of performance.now()
  #config = JSON.parse(find("#desk-config").textContent ?? "{}");
  #show = /** @type {HTMLSelectElement} */ (find("#desk-show"));
  #minutes = /** @type {HTMLSelectElement} */ (find("#desk-minutes"));
  #search = /** @type {HTMLInputElement} */ (find("#desk-search"));
  #calls = new Calls({
    runner: this.#config.runner,
    onAct: this.#config.mayHelp
      ? (id, act) => this.#post(this.#config.sos, { sos: String(id), act })
      : null,
  });

  /** @type {import("./deskmap.js").DeskMap | null} */
  #map = null;

  constructor() {
    if (this.#config.map) this.#offerMap();
    for (const field of [this.#show, this.#minutes, this.#search]) {
      field.addEventListener("input", () => this.#draw());
    }
    const poll = () => document.hidden || this.#poll();
    poll();
    setInterval(poll, EVERY_MS);
    document.addEventListener("visibilitychange", poll);
  }

  // On request, because the map's library is larger than the page.
  #offerMap() {
    const button = /** @type {HTMLButtonElement} */ (find("#desk-map-open"));
    button.hidden = false;
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        const { DeskMap } = await import("./deskmap.js");
        this.#map = await DeskMap.open(this.#config.map);
        this.#draw();
      } catch (error) {
        console.info(`${error}`);
        find("#desk-map").hidden = true;
        setText(find("#desk-words"), "This browser cannot draw the map.");
      }
    });
  }

  async #poll() {
    try {
      const answer = await fetch(this.#config.data);
      if (answer.redirected) throw new Error("You are signed out. Reload the page.");
      if (!answer.ok) throw new Error(`The server answers ${answer.status}.`);
      this.#desk = await answer.json();
      this.#read = performance.now();
      this.#draw();
    } catch (error) {
      const old = this.#desk ? ` What you see is ${long(performance.now() - this.#read)} old.` : "";
      setText(find("#desk-words"), `${/** @type {Error} */ (error).message}${old}`);
    }
  }

  #draw() {
    const desk = this.#desk;
    if (!desk) return;
    const now = desk.time + performance.now() - this.#read;
    const silence = Number(this.#minutes.value) * MINUTE_MS;
    const wanted = this.#search.value.trim().toLowerCase();
    const shown = desk.entries.filter(
      (row) =>
        belongs(row, this.#show.value, now, silence) &&
        (!wanted || row.bib === wanted || row.name.toLowerCase().includes(wanted)),
    );
    this.#count(desk, now, silence);
    this.#calls.render(desk.sos, now);
    this.#map?.show(spotsOf(desk, (row, kind) => belongs(row, kind, now, silence)));
    setText(
      find("#desk-words"),
      shown.length === desk.entries.length
        ? `${shown.length} entered`
        : `${shown.length} of ${desk.entries.length}`,
    );
    this.#list(find("#desk-rows"), shown, "e", now);
    this.#list(find("#desk-unassigned"), desk.unassigned, "t", now);
    find("#desk-unassigned-title").hidden = desk.unassigned.length === 0;
  }

  /** @param {Desk} desk @param {number} now @param {number} silence */
  #count({ entries, unassigned }, now, silence) {
    const figures = /** @type {[string, string, number][]} */ (
      [
        ["publishing", "sending"], ["silent", "silent"], ["never", "never seen"],
        ["off_course", "off course"], ["out", "finished or out"],
      ].map(
        ([show, words]) => [
          show,
          words,
          entries.filter((row) => belongs(row, show, now, silence)).length,
        ],
      )
    );
    if (unassigned.length) figures.push(["", "unassigned", unassigned.length]);
    const list = find("#desk-counts");
    if (list.childElementCount !== figures.length) {
      list.replaceChildren(
        ...figures.map(([show]) => {
          const item = element("li");
          const button = element("button", "desk-count");
          button.setAttribute("type", "button");
          button.append(element("b"), element("span"));
          button.addEventListener("click", () => {
            if (!show) find("#desk-unassigned-title").scrollIntoView();
            else {
              this.#show.value = this.#show.value === show ? "all" : show;
              this.#draw();
            }
          });
          item.append(button);
          return item;
        }),
      );
    }
    figures.forEach(([show, words, count], index) => {
      const button = list.children[index].firstElementChild;
      if (!button) return;
      setText(button.children[0], String(count));
      setText(button.children[1], words);
      setAttribute(button, "aria-pressed", String(this.#show.value === show));
    });
  }

  /** @param {HTMLElement} list @param {Row[]} rows @param {string} kind @param {number} now */
  #list(list, rows, kind, now) {
    const items = rows.map((row) => {
      const key = kind + row.id;
      let item = this.#rows.get(key);
      if (!item) this.#rows.set(key, (item = this.#made(row, kind)));
      this.#fill(item, row, now);
      return item;
    });
    // Change only nodes that differ, so that a button that is being tapped stays.
    items.forEach((item, index) => {
      if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
    });
    while (list.childElementCount > items.length) list.lastElementChild?.remove();
  }

  /** @param {Row} row @param {string} kind */
  #made(row, kind) {
    const item = element("li", "desk-row");
    const link = element("a", "name");
    link.setAttribute("href", this.#config.runner.replace("/0/", `/${row.runner}/`));
    const who = element("span", "who");
    who.append(link, element("small"));
    const acts = element("span", "acts");
    if (this.#config.mayMark) {
      if (kind === "e") {
        for (const status of ["dnf", "dns", "back"]) acts.append(this.#act(row.id, status));
      }
    }
    if (this.#config.maySwap) {
      const swap = element("a", "swap");
      swap.setAttribute(
        "href",
        `${this.#config.swap}?first=${encodeURIComponent(row.bib ?? row.code)}`,
      );
      swap.textContent = kind === "e" ? "Swap" : "Give to a bib";
      acts.append(swap);
    }
    item.append(
      element("span", "bib"), who, element("span", "liveness"), element("span", "progress"),
      element("span", "battery"), element("span", "accuracy"), element("span", "app"),
      acts, element("span", "refused"),
    );
    return item;
  }

  /**
   * Return a button that asks for confirmation.
   * @param {number} entry @param {string} status
   */
  #act(entry, status) {
    const words = { dnf: "DNF", dns: "DNS", back: "Back in" }[status] ?? status;
    return actButton(status, words, () => {
      const row = this.#desk?.entries.find(({ id }) => id === entry);
      const back = row?.progress === null ? "registered" : "started";
      const wanted = status === "back" ? back : status;
      this.#post(this.#config.mark, { entry: String(entry), status: wanted });
    });
  }

  /** @param {string} url @param {Record<string, string>} fields */
  async #post(url, fields) {
    const token = /** @type {HTMLInputElement} */ (find("[name=csrfmiddlewaretoken]")).value;
    const answer = await fetch(url, {
      method: "POST",
      headers: { "X-CSRFToken": token },
      body: new URLSearchParams(fields),
    }).catch(() => null);
    if (!answer?.ok) {
      setText(find("#desk-words"), "That was not saved. Try again.");
      return;
    }
    await this.#poll();
  }

  /** @param {HTMLElement} item @param {Row} row @param {number} now */
  #fill(item, row, now) {
    const out = isOut(row);
    const status = row.status ? this.#config.statuses[row.status] : "";
    const facts = [
      row.wave && `wave ${row.wave}`,
      row.token ?? status.toLowerCase(),
      row.state === "off_course" && !out && "off course",
      row.accepted === false && "not accepted",
      row.phones > 1 && `${row.phones} phones`,
      disagreement(row),
    ];
    setAttribute(item, "data-status", row.status ?? "");
    setText(find(".bib", item), row.bib ?? "–");
    setText(find(".name", item), row.name);
    setText(find("small", item), facts.filter(Boolean).join(" · "));
    const signal = find(".liveness", item);
    const { state, words } = signalOf(row, now);
    setAttribute(signal, "data-state", state);
    setText(signal, words);
    setText(find(".app", item), appOf(row));
    const battery = find(".battery", item);
    setText(battery, row.battery === null ? "" : `${Math.round(row.battery)} %`);
    battery.classList.toggle("bad", row.battery !== null && row.battery < LOW_BATTERY_PERCENT);
    const accuracy = find(".accuracy", item);
    setText(accuracy, row.accuracy === null ? "" : `± ${Math.round(row.accuracy)} m`);
    accuracy.classList.toggle("bad", row.accuracy !== null && row.accuracy > COARSE_M);
    setText(
      find(".progress", item),
      typeof row.progress === "number" ? `${(row.progress / 1000).toFixed(2)} km` : "",
    );
    setText(find(".refused", item), refusal(row, now));
    for (const [name, hidden] of /** @type {[string, boolean][]} */ ([
      [".dnf", out], [".dns", out || row.status !== "registered"], [".back", !out],
    ])) {
      const button = /** @type {HTMLElement | null} */ (item.querySelector(name));
      if (button) button.hidden = hidden;
    }
  }
}

if (typeof document !== "undefined") new DeskPage();
