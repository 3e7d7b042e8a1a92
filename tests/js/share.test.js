import assert from "node:assert/strict";
import { test } from "node:test";

import { addressOf, viewOf } from "../../static/js/share.js";

test("an address keeps the runner and the place", () => {
  const url = addressOf("https://x.example/races/ten/?screen=1#a", {
    runner: "bob", place: [2.123456, 48.5],
  });
  assert.equal(url, "https://x.example/races/ten/?runner=bob&place=48.50000%2C2.12346");
  assert.deepEqual(viewOf(new URL(url).search), { runner: "bob", place: [2.12346, 48.5] });
});

test("an address of neither is the page's own", () => {
  assert.equal(addressOf("https://x.example/", { runner: null, place: null }), "https://x.example/");
  assert.deepEqual(viewOf(""), { runner: null, place: null });
  assert.deepEqual(viewOf("?place=here&runner="), { runner: null, place: null });
});
