// Open calls for help, above all other parts of the desk.

import { find, setAttribute, setText } from "../dom.js";
import { actButton, element } from "./elements.js";

/**
 * One call. Times are in ms, accuracy in metres, battery in per cent.
 * @typedef {{
 *   id: number, bib: string | null, name: string, runner: number, called: number,
 *   received: number, lat: number | null, lng: number | null, accuracy: number | null,
 *   placed: number | null, battery: number | null, seen: number | null, seen_by: string,
 * }} Sos
 * @typedef {"seen" | "close"} Act
 */

const LATE_MS = 60_000;
const TONE_HZ = 880;
const TONE_FOR_S = 0.4;

/** Return an age in minutes as text. @param {number} ms */
function ago(ms) {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return "just now";
  return minutes < 120 ? `${minutes} min ago` : `${Math.floor(minutes / 60)} h ago`;
}

/** @param {number} ms */
function clock(ms) {
  return new Date(ms).toLocaleTimeString("en-GB");
}

/**
 * Return the details of a call in one line.
 * @param {Sos} sos
 * @param {number} now
 */
export function facts(sos, now) {
  const late = sos.received - sos.called > LATE_MS ? `, reached us at ${clock(sos.received)}` : "";
  const place =
    sos.placed === null
      ? "no place"
      : `place of ${ago(now - sos.placed)}${sos.accuracy === null ? "" : `, ± ${Math.round(sos.accuracy)} m`}`;
  const battery = sos.battery === null ? "battery unknown" : `battery ${Math.round(sos.battery)} %`;
  const seen = sos.seen === null ? "" : ` · seen by ${sos.seen_by || "the office"} at ${clock(sos.seen)}`;
  return `Called ${ago(now - sos.called)}, at ${clock(sos.called)}${late} · ${place} · ${battery}${seen}`;
}

/** @param {{lat: number, lng: number}} place */
function mapOf({ lat, lng }) {
  const at = `${lat.toFixed(5)}/${lng.toFixed(5)}`;
  return `https://www.openstreetmap.org/?mlat=${lat.toFixed(5)}&mlon=${lng.toFixed(5)}#map=17/${at}`;
}

/** The list of open calls. */
export class Calls {
  #section = find("#desk-sos");
  #list = find("#desk-sos ul");
  #title = document.title;
  #runner;
  #onAct;
  /** @type {Map<number, HTMLElement>} */
  #items = new Map();
  /** @type {AudioContext | null} */
  #audio = null;

  /**
   * `runner` is the page of the runner 0. Without `onAct` the list is read-only.
   * @param {{runner: string, onAct: ((id: number, act: Act) => void) | null}} options
   */
  constructor({ runner, onAct }) {
    this.#runner = runner;
    this.#onAct = onAct;
    // Browsers do not allow sound before the page was pressed.
    addEventListener("pointerdown", () => (this.#audio = new AudioContext()), { once: true });
  }

  /** @param {Sos[]} calls in the order of the list @param {number} now */
  render(calls, now) {
    this.#section.hidden = calls.length === 0;
    const unseen = calls.filter(({ seen }) => seen === null).length;
    const title = unseen ? `(${unseen} SOS) ${this.#title}` : this.#title;
    if (document.title !== title) document.title = title;
    const kept = new Set(calls.map(({ id }) => id));
    for (const [id, item] of this.#items) {
      if (kept.has(id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    for (const [place, sos] of calls.entries()) {
      let item = this.#items.get(sos.id);
      if (!item) this.#items.set(sos.id, (item = this.#made(sos)));
      // Move only items whose place differs, because screen readers repeat moved items.
      const there = this.#list.children[place] ?? null;
      if (there !== item) this.#list.insertBefore(item, there);
      this.#fill(item, sos, now);
    }
    // Sound at each poll, until somebody has acknowledged the call.
    if (unseen) this.#sound();
  }

  #sound() {
    if (!this.#audio) return;
    const tone = new OscillatorNode(this.#audio, { frequency: TONE_HZ });
    tone.connect(new GainNode(this.#audio, { gain: 0.2 })).connect(this.#audio.destination);
    tone.start();
    tone.stop(this.#audio.currentTime + TONE_FOR_S);
  }

  /** @param {Sos} sos */
  #made({ id, runner }) {
    const item = element("li", "desk-call");
    const name = element("a", "name");
    name.setAttribute("href", this.#runner.replace("/0/", `/${runner}/`));
    const place = element("a", "place");
    place.setAttribute("target", "_blank");
    place.setAttribute("rel", "noopener noreferrer");
    const acts = element("span", "acts");
    if (this.#onAct) acts.append(this.#button(id, "seen", "Acknowledge"), this.#button(id, "close", "Close"));
    item.append(element("b", "bib"), name, place, acts, element("small", "facts"));
    return item;
  }

  /** @param {number} id @param {Act} act @param {string} words */
  #button(id, act, words) {
    // Acknowledging is harmless.
    return actButton(act, words, () => this.#onAct?.(id, act), act === "seen");
  }

  /** @param {HTMLElement} item @param {Sos} sos @param {number} now */
  #fill(item, sos, now) {
    setAttribute(item, "data-seen", String(sos.seen !== null));
    setText(find(".bib", item), sos.bib ?? "–");
    setText(find(".name", item), sos.name);
    const place = find(".place", item);
    if (sos.lat !== null && sos.lng !== null) {
      setAttribute(place, "href", mapOf({ lat: sos.lat, lng: sos.lng }));
      setText(place, `${sos.lat.toFixed(5)}, ${sos.lng.toFixed(5)}`);
    }
    place.hidden = sos.lat === null;
    setText(find(".facts", item), facts(sos, now));
    const seen = /** @type {HTMLElement | null} */ (item.querySelector(".seen"));
    if (seen) seen.hidden = sos.seen !== null;
  }
}
