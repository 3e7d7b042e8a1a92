import assert from "node:assert/strict";
import { test } from "node:test";

import { age, distance, duration, initials, label, pace, textOn } from "../../static/js/format.js";

test("a distance has metres below a kilometre", () => {
  assert.deepEqual(distance(999.4), { value: "999", unit: "m" });
  assert.deepEqual(distance(12_440), { value: "12.4", unit: "km" });
  assert.equal(distance(null), null);
});

test("an uncertain distance has its error", () => {
  assert.deepEqual(distance(12_440, 260), { value: "12.4 ± 0.5", unit: "km" });
  assert.deepEqual(distance(900, 100), { value: "900 ± 200", unit: "m" });
  assert.deepEqual(distance(12_440, 60), { value: "12.4", unit: "km" });
});

test("a pace is in minutes and seconds per kilometre", () => {
  assert.deepEqual(pace(1000 / 292), { value: "4:52", unit: "/km" });
  assert.deepEqual(pace(1000 / 305), { value: "5:05", unit: "/km" });
});

test("a standing runner has no pace", () => {
  assert.equal(pace(0.2), null);
  assert.equal(pace(null), null);
});

test("an age has one unit", () => {
  assert.equal(age(12_400), "12 s");
  assert.equal(age(59_999), "59 s");
  assert.equal(age(240_000), "4 min");
  assert.equal(age(2 * 3_600_000), "2 h");
  assert.equal(age(3 * 86_400_000), "3 d");
});

test("a fix from the future has age 0", () => {
  assert.equal(age(-5000), "0 s");
});

test("a duration shows hours when there are any", () => {
  assert.equal(duration(3_127_000), "52:07");
  assert.equal(duration(6_727_000), "1:52:07");
  assert.equal(duration(3_605_000), "1:00:05");
});

test("a marker is labelled with the bib, or with initials", () => {
  assert.equal(label({ bib: "17", name: "Bob Marsh" }), "17");
  assert.equal(label({ bib: null, name: "Bob Marsh" }), "BM");
  assert.equal(initials("Ana Lucía de Souza"), "AS");
  assert.equal(initials("Rosalind"), "ROS");
  assert.equal(initials("7"), "7");
  assert.equal(initials("Runner 12"), "R12");
  assert.equal(initials("12345"), "12345");
  assert.equal(initials("m460"), "M460");
  assert.equal(initials("  "), "?");
});

test("the colour of text on a runner's colour has the higher contrast", () => {
  const white = ["#0072B2", "#7B3294", "#8C510A"];
  const dark = ["#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
  for (const colour of white) assert.equal(textOn(colour), "#FFFFFF", colour);
  for (const colour of dark) assert.equal(textOn(colour), "#0B1117", colour);
});
