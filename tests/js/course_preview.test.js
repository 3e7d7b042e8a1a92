// Positions of checkpoints in the preview of the race office.

import assert from "node:assert/strict";
import { test } from "node:test";
import { placeAt } from "../../static/js/admin/course.js";

/** @type {import("../../static/js/polyline.js").LngLat[]} */
const LINE = [[0, 0], [0.01, 0], [0.02, 0]]; // about 2.2 km along the equator

test("a distance is scaled to the certified length", () => {
  assert.ok(Math.abs(placeAt(LINE, 4000, 1000)[0] - 0.005) < 1e-9);
  assert.ok(Math.abs(placeAt(LINE, 2000, 1000)[0] - 0.01) < 1e-9);
});

test("a distance beyond an end is at that end", () => {
  assert.deepEqual(placeAt(LINE, 2000, -5), LINE[0]);
  assert.deepEqual(placeAt(LINE, 2000, 9000), LINE[2]);
});
