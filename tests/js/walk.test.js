import assert from "node:assert/strict";
import { test } from "node:test";

import { placeFrom } from "../../static/js/metres.js";
import { walkWords } from "../../static/js/walk.js";

const NOW = Date.UTC(2026, 4, 10, 10, 0);
const MINUTE_MS = 60_000;
const PLACE = [7.44, 46.95];
// 577 m in a straight line are 10 minutes.
const NEAR = placeFrom(PLACE, 90, 570);

test("the walk to a place ends with when to leave for the next runner", () => {
  assert.match(walkWords(NEAR, PLACE, NOW + 25 * MINUTE_MS, NOW), /^About 10 min on foot: leave by \d+:15/);
  assert.equal(
    walkWords(NEAR, PLACE, NOW + 5 * MINUTE_MS, NOW),
    "About 10 min on foot: too far for the next runner",
  );
  assert.equal(walkWords(NEAR, PLACE, null, NOW), "About 10 min on foot");
});

test("there is no walk for visitors who are there, or whose place is unknown", () => {
  assert.equal(walkWords(placeFrom(PLACE, 0, 40), PLACE, NOW, NOW), "");
  assert.equal(walkWords(null, PLACE, NOW, NOW), "");
});
