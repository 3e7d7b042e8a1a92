// A call for help, which is stored until the server has it, and sent before everything
// else.

import { find, setText } from "../dom.js";
import { clockTime } from "../format.js";
import { gettext } from "../language.js";
import { fixOf, Locator } from "./geolocation.js";
import { holding } from "./hold.js";

// How often a call is repeated, to send the newest position and to learn who has seen it.
const AGAIN_MS = 5000;
const HINT_FOR_MS = 5000;

/**
 * Times are in ms, by the server's clock. `time`: the button was held. `reached`: the
 * server first had the call. `seen`: the race office acknowledged it. `fine`: the runner
 * withdraws it.
 * @typedef {{
 *   runner: string, id: string, time: number, fix: import("./backlog.js").Fix | null,
 *   battery: number | null, fine: boolean, reached: number | null, seen: number | null,
 *   closed: boolean,
 * }} Call
 */

/**
 * Return the message of a call.
 * @param {Call} call
 */
export function message({ id, time, fix, battery, fine }) {
  return {
    type: "sos",
    id,
    time,
    ...(fix ? { fix } : {}),
    ...(battery === null ? {} : { battery }),
    ...(fine ? { fine } : {}),
  };
}

/**
 * Return the next state of a call by the server's reply, or null once it has finished.
 * @param {Call} call
 * @param {{open: boolean, seen: number | null}} answer
 * @param {number} now
 * @returns {Call | null}
 */
export function answered(call, { open, seen }, now) {
  // Still open, because the reply is to a message sent before the withdrawal.
  if (call.fine) return open ? call : null;
  return { ...call, reached: call.reached ?? now, seen, closed: !open };
}

/**
 * Return a call as a sentence.
 * @param {Call} call
 */
export function words(call) {
  if (call.fine) return gettext("You are fine. This will be sent as soon as there is a connection.");
  if (call.closed) return gettext("The race office has closed your call.");
  const place = call.fix ? gettext("Your position is sent with it.") : gettext("This device has found no position so far.");
  if (call.reached === null) {
    return `${gettext(
      "Called at {time}, and not sent yet. It will be sent first, as soon as there is a connection.",
      { time: clockTime(call.time) },
    )} ${place}`;
  }
  if (call.seen !== null) {
    return `${gettext("The race office saw your call at {time}.", { time: clockTime(call.seen) })} ${place}`;
  }
  return `${gettext(
    "Your call arrived at {time}: the race office and your contacts are notified.",
    { time: clockTime(call.reached) },
  )} ${place}`;
}

/** The button, and its call. */
export class Sos {
  #queue;
  #device;
  #send;
  #onChange;
  #locator;
  /** @type {Call | null} */
  #call = null;
  #runner = "";
  #hinted = -Infinity; // by the page's running time
  #status = find("#sos-says");
  #button = find("#sos-button");
  #done = find("#sos-done");

  /**
   * `device` is its current state. `send` returns whether there is a connection.
   * @param {{
   *   queue: import("./queue.js").Queue,
   *   device: () => {now: number, offset: number, battery: number | null},
   *   send: (message: import("../protocol.js").Message) => void,
   *   onChange: () => void,
   * }} options
   */
  constructor({ queue, device, send, onChange }) {
    this.#queue = queue;
    this.#device = device;
    this.#send = send;
    this.#onChange = onChange;
    // A separate position, also while nothing is recorded.
    this.#locator = new Locator({
      onPosition: (position) => this.#place(position),
      onTrouble: () => {},
    });
    holding(this.#button, {
      onHeld: () => (this.#call && !this.#call.closed ? this.#withdraw() : this.#make()),
      onTap: () => {
        this.#hinted = performance.now();
        onChange();
      },
    });
    this.#done.addEventListener("click", () => this.#keep(null));
    setInterval(() => this.#sendAgain(), AGAIN_MS);
  }

  /** Return whether there is a call that has not ended. */
  get isOpen() {
    return this.#call !== null && !this.#call.closed;
  }

  /**
   * Resume this runner's call.
   * @param {string} runner
   */
  async begin(runner) {
    this.#runner = runner;
    const kept = await this.#queue.recall("sos");
    if (kept?.runner !== runner) return;
    this.#call = kept;
    this.#settle();
  }

  /** Return the first message on a new connection. */
  first() {
    return this.#call && !this.#call.closed ? message(this.#call) : null;
  }

  /** @param {import("../protocol.js").Message} answer */
  answer(answer) {
    const call = this.#call;
    if (!call || call.id !== answer.id || typeof answer.open !== "boolean") return;
    this.#keep(answered(call, { open: answer.open, seen: answer.seen }, this.#device().now));
  }

  /** @param {boolean} isSetUp */
  draw(isSetUp) {
    find("#sos").hidden = !isSetUp;
    const call = this.#call;
    find("#sos").dataset.open = String(this.isOpen && !call?.fine);
    const hint = performance.now() - this.#hinted < HINT_FOR_MS ? gettext("Hold it until the bar is full.") : "";
    setText(this.#status, [hint, call ? words(call) : ""].filter(Boolean).join(" "));
    this.#button.hidden = Boolean(call?.fine || call?.closed);
    setText(find("#sos-button b"), call ? gettext("I am fine") : "SOS");
    setText(find("#sos-button span"), call ? gettext("hold to withdraw it") : gettext("hold to call for help"));
    this.#done.hidden = !call?.closed;
    find("#sos-note").hidden = call !== null;
  }

  #make() {
    const { now, battery } = this.#device();
    this.#keep({
      runner: this.#runner, id: crypto.randomUUID?.() ?? `${now}-${Math.random()}`, time: Math.round(now),
      fix: null, battery, fine: false, reached: null, seen: null, closed: false,
    });
    this.#sendAgain();
  }

  #withdraw() {
    if (!this.#call) return;
    this.#keep({ ...this.#call, fine: true });
    this.#sendAgain();
  }

  /** @param {GeolocationPosition} position */
  #place(position) {
    if (!this.#call || this.#call.fine) return;
    const { offset, battery } = this.#device();
    const isFirst = this.#call.fix === null;
    this.#keep({ ...this.#call, fix: fixOf(position, { offset, battery }), battery });
    if (isFirst) this.#sendAgain();
  }

  #sendAgain() {
    const first = this.first();
    if (first) this.#send(first);
  }

  /** @param {Call | null} call */
  #keep(call) {
    this.#call = call;
    // Send the call even if it cannot be stored, for example in a full storage.
    this.#queue.remember("sos", call ?? undefined).catch(() => {});
    this.#settle();
  }

  #settle() {
    if (this.isOpen && !this.#call?.fine) this.#locator.start();
    else this.#locator.stop();
    this.#onChange();
  }
}
