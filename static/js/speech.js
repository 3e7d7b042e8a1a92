// Reads splits out, by the voice of the device.

import { gettext } from "./language.js";

const PATIENCE_MS = 5000;

/** The button that switches reading out on, for as long as the page is open. */
export class Speech {
  #button;
  #onSilent;
  #isOn = false;

  /**
   * @param {HTMLElement} button hidden where the browser cannot speak
   * @param {(sentence: string) => void} onSilent why nothing is read out
   */
  constructor(button, onSilent) {
    this.#button = button;
    this.#onSilent = onSilent;
    button.hidden = !("speechSynthesis" in globalThis);
    button.addEventListener("click", () => (this.#isOn ? this.#set(false) : this.#start()));
  }

  /** @param {string} text */
  read(text) {
    if (this.#isOn) this.#speak(text);
  }

  // Browsers allow speech only after one that a press of a button has started.
  #start() {
    this.#set(true);
    const first = this.#speak(gettext("Splits are read out."));
    const waiting = setTimeout(() => this.#fail(), PATIENCE_MS);
    first.onstart = () => clearTimeout(waiting);
    first.onerror = () => {
      clearTimeout(waiting);
      // Pressing the button again cancels speech, which is not a failure.
      if (this.#isOn) this.#fail();
    };
  }

  /** @param {string} text */
  #speak(text) {
    const spoken = new SpeechSynthesisUtterance(text);
    spoken.lang = document.documentElement.lang;
    speechSynthesis.speak(spoken);
    return spoken;
  }

  #fail() {
    this.#set(false);
    this.#onSilent(gettext("This browser has no voice, so splits are not read out."));
  }

  /** @param {boolean} isOn */
  #set(isOn) {
    this.#isOn = isOn;
    this.#button.setAttribute("aria-pressed", String(isOn));
    if (!isOn) speechSynthesis.cancel();
  }
}
