import assert from "node:assert/strict";
import { test } from "node:test";

import { addressOf, viewOf } from "../../static/js/share.js";

test("an address keeps the runner, the place and the time of the replay", () => {
  const time = Date.UTC(2026, 4, 10, 9, 30, 5, 400);
  const url = addressOf("https://x.example/races/ten/?screen=1#a", {
    runner: "bob", place: [2.123456, 48.5], time,
  });
  assert.equal(
    url,
    "https://x.example/races/ten/?runner=bob&place=48.50000%2C2.12346&time=2026-05-10T09%3A30%3A05.400Z",
  );
  assert.deepEqual(viewOf(new URL(url).search), { runner: "bob", place: [2.12346, 48.5], time });
});

test("an address of neither is the page's own", () => {
  assert.equal(addressOf("https://x.example/", { runner: null, place: null, time: null }), "https://x.example/");
  assert.deepEqual(viewOf(""), { runner: null, place: null, time: null });
  assert.deepEqual(viewOf("?place=here&runner=&time=then"), { runner: null, place: null, time: null });
});
