// Heights along a course.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Heights } from "../../static/js/profile.js";

// Up 40 m, down 20 m, up 10 m, over 3 km.
const heights = new Heights([10, 50, 30, 40], 3000);

test("a height between two points is interpolated", () => {
  assert.equal(heights.at(0), 10);
  assert.equal(heights.at(500), 30);
  assert.equal(heights.at(3000), 40);
  assert.equal(heights.at(9000), 40);
});

test("the climb to go is what remains of each rise", () => {
  assert.equal(heights.climb(0), 50);
  assert.equal(heights.climb(500), 30);
  assert.equal(heights.climb(1000), 10);
  assert.equal(heights.climb(2500), 5);
  assert.equal(heights.climb(3000), 0);
});

test("the highest point is drawn above the lowest", () => {
  const [[start, low], [summit, high]] = [heights.drawn(0), heights.drawn(1000)];
  assert.equal(start, 0);
  assert.equal(summit, 1 / 3);
  assert.ok(high < low && high > 0 && low < 1);
  assert.match(heights.path(), /^M0 100L0\.0 88\.0L333\.3 12\.0L.*Z$/);
});
