import assert from "node:assert/strict";
import { test } from "node:test";

import { Along } from "../../static/js/along.js";
import { metresBetween, placeFrom } from "../../static/js/metres.js";

const METRE = 1 / metresBetween([0, 0], [1, 0]);
const place = (x, y) => [x * METRE, y * METRE];
const round = (at) => at.map((degrees) => Math.round(degrees / METRE));

test("a position along a course is at its distance, in the race's metres", () => {
  const drawn = new Along([place(0, 0), place(100, 0), place(100, 100)], 0);
  assert.deepEqual(round(drawn.place(150)), [100, 50]);
  const certified = new Along([place(0, 0), place(100, 0), place(100, 100)], 210);
  assert.deepEqual(round(certified.place(157.5)), [100, 50]);
  assert.deepEqual(round(certified.place(900)), [100, 100]);
});

test("a position on an out-and-back is passed twice", () => {
  const line = [place(0, 0), place(1000, 0), place(0, 1)];
  const passes = new Along(line, 2000).passes(place(400, 5), 30);
  assert.deepEqual(passes.map((distance) => Math.round(distance / 10) * 10), [400, 1600]);
});

test("a position off the course has no pass", () => {
  assert.deepEqual(new Along([place(0, 0), place(1000, 0)], 0).passes(place(400, 50), 30), []);
});

test("a heading and a distance give a position", () => {
  const [lng, lat] = placeFrom([6, 53], 90, 100);
  assert.ok(Math.abs(metresBetween([6, 53], [lng, lat]) - 100) < 0.5);
  assert.ok(lng > 6 && Math.abs(lat - 53) < 1e-9);
});

test("the nearest distance to a position away from the course", () => {
  const along = new Along([[0, 0], [0.01, 0], [0.01, 0.01]], 2000);
  assert.ok(Math.abs(along.nearestTo([0.005, -0.02]) - 500) < 1);
  assert.ok(Math.abs(along.nearestTo([0.02, 0.02]) - 2000) < 1);
});
