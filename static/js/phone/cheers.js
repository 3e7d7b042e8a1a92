// Cheers for the runner, which are shown, and read aloud or signalled by vibration.

import { find } from "../dom.js";

// Limit of the cheers that wait to be read aloud. Later they are out of date.
const MOST_WAITING = 1;
const PULSE_MS = [200, 100, 200];

/** Shows the last cheer and reads it aloud, unless that is switched off. */
export class Cheers {
  #last = find("#cheer");
  #switch = /** @type {HTMLInputElement} */ (find("#aloud"));
  #waiting = 0;

  /** @param {{aloud: boolean, onSwitch: (aloud: boolean) => void}} options */
  constructor({ aloud, onSwitch }) {
    this.#switch.checked = aloud;
    this.#switch.addEventListener("change", () => {
      onSwitch(this.#switch.checked);
      if (this.#switch.checked) this.allow();
      else globalThis.speechSynthesis?.cancel();
    });
  }

  /** Browsers allow speech only after a tap, so speak an empty text during one. */
  allow() {
    globalThis.speechSynthesis?.speak(new SpeechSynthesisUtterance(""));
  }

  /** @param {string} text */
  receive(text) {
    this.#last.textContent = `“${text}”`;
    if (!this.#switch.checked) return;
    navigator.vibrate?.(PULSE_MS);
    if (!globalThis.speechSynthesis || this.#waiting > MOST_WAITING) return;
    const spoken = new SpeechSynthesisUtterance(text);
    this.#waiting += 1;
    spoken.onend = spoken.onerror = () => {
      this.#waiting -= 1;
    };
    speechSynthesis.speak(spoken);
  }
}
