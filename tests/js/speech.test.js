import assert from "node:assert/strict";
import { test } from "node:test";

import { Speech } from "../../static/js/speech.js";

/** A device that speaks; `voices`: whether a text is heard. */
function device({ voices = true } = {}) {
  const spoken = [];
  globalThis.document = { documentElement: { lang: "de" } };
  globalThis.SpeechSynthesisUtterance = class {
    constructor(text) {
      this.text = text;
    }
  };
  globalThis.speechSynthesis = {
    speak(text) {
      spoken.push([text.text, text.lang]);
      queueMicrotask(() => (voices ? text.onstart?.() : text.onerror?.()));
    },
    cancel() {},
  };
  return spoken;
}

function pressable() {
  const attributes = {};
  let press;
  return {
    attributes, hidden: false,
    press: () => press(),
    addEventListener: (_, action) => (press = action),
    setAttribute: (name, value) => (attributes[name] = value),
  };
}

test("splits are spoken in the page's language after the button is pressed", async () => {
  const spoken = device();
  const button = pressable();
  const speech = new Speech(button, assert.fail);
  speech.read("Ann: 5 km");
  assert.deepEqual(spoken, []);
  button.press();
  await null;
  speech.read("Ann: 10 km");
  assert.deepEqual(spoken, [["Splits are read out.", "de"], ["Ann: 10 km", "de"]]);
  button.press();
  assert.equal(button.attributes["aria-pressed"], "false");
  speech.read("Ann: 15 km");
  assert.equal(spoken.length, 2);
});

test("a device without a voice says so, and the button is released", async () => {
  device({ voices: false });
  const button = pressable();
  const said = [];
  new Speech(button, (sentence) => said.push(sentence));
  button.press();
  await null;
  assert.deepEqual(said, ["This browser has no voice, so splits are not read out."]);
  assert.equal(button.attributes["aria-pressed"], "false");
});

test("a browser that cannot speak has no button", () => {
  delete globalThis.speechSynthesis;
  const button = pressable();
  new Speech(button, assert.fail);
  assert.equal(button.hidden, true);
});
