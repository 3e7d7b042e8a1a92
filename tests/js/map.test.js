import assert from "node:assert/strict";
import { test } from "node:test";

import { courseMarks, kilometrePoints, metresBetween } from "../../static/js/map/course.js";
import { PointDiff } from "../../static/js/map/diff.js";
import { Glider } from "../../static/js/map/glide.js";
import { trailLines } from "../../static/js/map/trails.js";

const DEGREE = metresBetween([0, 0], [1, 0]);
const line = [0, 1, 2, 3].map((km) => [(km * 1000) / DEGREE, 0]);

test("kilometres stand along the line, none at the very end", () => {
  const points = kilometrePoints(line, 3000);
  assert.deepEqual(points.map(([number]) => number), [1, 2]);
  assert.ok(Math.abs(points[0][1][0] - line[1][0]) < 1e-9);
});

test("kilometres stretch to the length that was measured", () => {
  // Drawn as 3 km, measured as 6 km: a mark each 500 m of the drawing.
  assert.equal(kilometrePoints(line, 6000).length, 5);
});

test("a start that is also the finish has one label", () => {
  const loop = [...line, line[0]];
  const names = courseMarks([{ line: loop, length: 6000, checkpoints: [] }])
    .features.map(({ properties }) => properties.name)
    .filter(Boolean);
  assert.deepEqual(names, ["Start · Finish"]);
});

test("a checkpoint at a kilometre takes the mark's place", () => {
  const checkpoints = [{ name: "1 km", kind: "split", lng: line[1][0], lat: 0 }];
  const marks = courseMarks([{ line, length: 3000, checkpoints }]).features;
  assert.deepEqual(
    marks.map(({ properties }) => properties.kilometre).filter(Boolean),
    ["2"],
  );
});

test("a source is sent only what changed", () => {
  const diff = new PointDiff();
  const bob = (lng, state) => ({ lng, lat: 0, properties: { code: "bob", state } });
  assert.equal(diff.to([bob(1, "live")]).add.length, 1);
  assert.equal(diff.to([bob(1, "live")]), null);
  assert.deepEqual(diff.to([bob(2, "live")]).update, [
    { id: "bob", newGeometry: { type: "Point", coordinates: [2, 0] } },
  ]);
  assert.deepEqual(diff.to([bob(2, "stale")]).update, [
    { id: "bob", addOrUpdateProperties: [{ key: "state", value: "stale" }] },
  ]);
  assert.deepEqual(diff.to([]).remove, ["bob"]);
});

test("a marker glides from fix to fix and arrives", () => {
  const glider = new Glider();
  glider.aim("bob", { t: 0, lng: 0, lat: 0 }, 0);
  glider.aim("bob", { t: 1000, lng: 0.001, lat: 0 }, 5000);
  assert.deepEqual(glider.place("bob", 5000), [0, 0]);
  assert.ok(Math.abs(glider.place("bob", 5500)[0] - 0.0005) < 1e-12);
  assert.equal(glider.isMoving(5500), true);
  assert.deepEqual(glider.place("bob", 6000), [0.001, 0]);
  assert.equal(glider.isMoving(6000), false);
});

test("a marker jumps when it would glide too far", () => {
  const glider = new Glider();
  glider.aim("bob", { t: 0, lng: 0, lat: 0 }, 0);
  glider.aim("bob", { t: 1000, lng: 1, lat: 0 }, 0);
  assert.deepEqual(glider.place("bob", 0), [1, 0]);
});

test("a trail ends at the marker and fades with age", () => {
  const T = 1_000_000_000;
  const bob = {
    colour: "#0072B2",
    code: "bob",
    fix: { t: T },
    trail: [[T - 70_000, 0, 0], [T - 2000, 0.001, 0], [T, 0.002, 0]],
  };
  const { features } = trailLines([bob], () => [0.0015, 0]);
  assert.deepEqual(features[0].geometry.coordinates.at(-1), [0.0015, 0]);
  assert.ok(features[0].properties.opacity > (features[1]?.properties.opacity ?? 0));
});

test("a trail is broken where the runner was not seen", () => {
  const T = 1_000_000_000;
  const bob = {
    colour: "#0072B2",
    code: "bob",
    fix: { t: T },
    trail: [[T - 4000, 0, 0], [T - 3000, 0.001, 0], [T - 2000, 1, 0], [T, 2, 0]],
  };
  const { features } = trailLines([bob], () => [1.001, 0]);
  assert.deepEqual(
    features.map(({ geometry }) => geometry.coordinates),
    [[[0, 0], [0.001, 0]], [[1, 0], [1.001, 0]]],
  );
});
