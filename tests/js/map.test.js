import assert from "node:assert/strict";
import { test } from "node:test";

import { Along } from "../../static/js/along.js";
import { courseMarks, kilometrePoints, labelsInView } from "../../static/js/map/course.js";
import { hasMoved } from "../../static/js/map/crowd.js";
import { PointDiff } from "../../static/js/map/diff.js";
import { Followed, ringOf } from "../../static/js/map/followed.js";
import { layers } from "../../static/js/map/layers.js";
import { metresBetween } from "../../static/js/metres.js";
import { fetchAhead, serveTiles, tilesOf } from "../../static/js/map/streets.js";
import { headLines, probablePlaces, rangeLines, trailLines } from "../../static/js/map/trails.js";

const DEGREE = metresBetween([0, 0], [1, 0]);
const line = [0, 1, 2, 3].map((km) => [(km * 1000) / DEGREE, 0]);

test("kilometre marks are on the line, without one at its end", () => {
  const points = kilometrePoints(line, 3000);
  assert.deepEqual(points.map(([number]) => number), [1, 2]);
  assert.ok(Math.abs(points[0][1][0] - line[1][0]) < 1e-9);
  // The ticks cross a line to the east.
  assert.deepEqual(points.map(([, , bearing]) => bearing), [90, 90]);
});

test("distances are ticks, not discs as runners are", () => {
  const tokens = new Proxy({}, { get: (_, name) => String(name) });
  const drawn = layers(tokens).filter(({ id }) => id.startsWith("kilometres-"));
  assert.deepEqual(drawn.map(({ layout }) => layout["icon-image"]), ["tick", "tick", "tick"]);
});

test("labels of places have precedence over bibs, and bibs over distances", () => {
  const tokens = new Proxy({}, { get: (_, name) => String(name) });
  const ids = layers(tokens).map(({ id }) => id);
  const order = ["kilometre-labels-1", "crowd-labels", "checkpoint-labels", "followed"];
  assert.deepEqual(ids.filter((id) => order.includes(id)), order);
});

test("kilometre marks are scaled to the measured length", () => {
  // Drawn as 3 km, measured as 6 km: a mark every 500 m of the line.
  assert.equal(kilometrePoints(line, 6000).length, 5);
});

test("the tiles of a first view are those around what is fitted", () => {
  // 10 km at the equator, upright, on 1,088 of 1,200 px: 544 px per tile of zoom 13.
  const upright = [[0.01, -0.045], [0.01, 0.045]];
  const size = { width: 400, height: 1200 };
  const columns = [4095, 4096];
  const rows = [4094, 4095, 4096, 4097];
  assert.deepEqual(tilesOf(upright, size, 0, 15), columns.flatMap((x) => rows.map((y) => [13, x, y])));
  // A sheet over the lower half shows more of the world. The map has no closer tiles.
  assert.deepEqual(tilesOf(upright, size, 600, 11), [
    [11, 1023, 1023], [11, 1023, 1024], [11, 1024, 1023], [11, 1024, 1024],
  ]);
  // A single place is shown at the greatest zoom of fits.
  assert.equal(tilesOf([[0.01, 0.01]], { width: 200, height: 200 }, 0, 20)[0][0], 15);
});

test("a tile that failed ahead is requested again while the library awaits it", async () => {
  const maps = [{ url: "/tiles/0/0/0", bounds: [-180, -85, 180, 85], maxZoom: 0 }];
  const failures = [];
  const requests = [];
  let serve;
  serveTiles({ addProtocol: (_, answer) => (serve = answer) }, maps, {});
  globalThis.fetch = (_, { signal }) => {
    requests.push(signal);
    if (signal) return Promise.resolve(new Response("tile"));
    return new Promise((_, reject) => failures.push(reject));
  };
  fetchAhead(maps, {}, [[0, 0]], { width: 400, height: 400 }, 0);
  const { signal } = new AbortController();
  const served = serve({ url: "streets://0/0/0" }, { signal });
  failures.forEach((fail) => fail(new Error("the network has changed")));
  assert.equal(new TextDecoder().decode((await served).data), "tile");
  assert.deepEqual(requests, [undefined, signal]);
});

test("a start that is also the finish has one label", () => {
  const loop = [...line, line[0]];
  const names = courseMarks([{ line: loop, length: 6000, checkpoints: [] }])
    .features.map(({ properties }) => properties.name)
    .filter(Boolean);
  assert.deepEqual(names, ["Start · Finish"]);
});

test("a checkpoint at a kilometre replaces its mark", () => {
  const checkpoints = [{ name: "1 km", kind: "split", lng: line[1][0], lat: 0 }];
  const marks = courseMarks([{ line, length: 3000, checkpoints }]).features;
  assert.deepEqual(
    marks.map(({ properties }) => properties.kilometre).filter(Boolean),
    ["2"],
  );
});

test("a source receives only changes", () => {
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

const T = 1_000_000_000;
const bob = (trail) => ({ colour: "#0072B2", code: "bob", fix: { t: T }, trail });
const coordinates = ({ features }) => features.map(({ geometry }) => geometry.coordinates);

test("a trail fades with age, and its head continues to the marker", () => {
  const runner = bob([[T - 70_000, 0, 0], [T - 2000, 0.001, 0], [T, 0.002, 0]]);
  const until = () => T - 1000;
  const { features } = trailLines([runner], until);
  assert.deepEqual(features[0].geometry.coordinates.at(-1), [0.001, 0]);
  assert.ok(features[0].properties.opacity > (features[1]?.properties.opacity ?? 0));
  const shown = { at: [0.0015, 0], from: [0.0015, 0], time: T - 1000, predicted: false };
  const [head] = coordinates(headLines([runner], until, () => shown));
  assert.deepEqual(head, [[0.001, 0], [0.0015, 0]]);
});

test("the predicted part of a trail is a separate line", () => {
  const runner = bob([[T - 1000, 0.001, 0], [T, 0.002, 0]]);
  const shown = { at: [0.003, 0], from: [0.002, 0], time: T + 1000, predicted: true };
  const { features } = headLines([runner], () => T - 1000, () => shown);
  assert.deepEqual(features.map(({ properties }) => properties.kind), ["way", "lead"]);
  assert.deepEqual(features[0].geometry.coordinates.at(-1), [0.002, 0]);
  assert.deepEqual(features[1].geometry.coordinates, [[0.002, 0], [0.003, 0]]);
});

test("an uncertain runner has a range on the course, which ends where it ends", () => {
  const along = new Along(line, 0);
  const at = (progress, uncertainty) => ({ colour: "#0072B2", fix: { progress, uncertainty } });
  const ranges = (runner, course) => coordinates(rangeLines([runner], () => course));
  const [range] = ranges(at(2800, 300), along);
  assert.deepEqual(range.map(([lng]) => Math.round(lng * DEGREE)), [2200, 3000]);
  assert.deepEqual(ranges(at(2800, 20), along), []);
  assert.deepEqual(ranges(at(2800, null), along), []);
  assert.deepEqual(ranges(at(2800, 300), null), []);
});

test("a silent runner is drawn at the probable place, with the range along the course", () => {
  const along = new Along(line, 0);
  const runner = { colour: "#0072B2", fix: { progress: 1000 } };
  const places = (probable) =>
    probablePlaces([runner], () => along, () => probable, () => "disc dashed");
  const { features } = places({ progress: 1500, from: 1200, to: 1900 });
  assert.deepEqual(features[0].geometry.coordinates.map(([lng]) => Math.round(lng * DEGREE)), [1200, 1900]);
  assert.equal(Math.round(features[1].geometry.coordinates[0] * DEGREE), 1500);
  assert.deepEqual(features[1].properties, { disc: "disc dashed" });
  assert.deepEqual(places(null).features, []);
});

test("a trail has a gap where the runner had no fixes", () => {
  const runner = bob([[T - 4000, 0, 0], [T - 3000, 0.001, 0], [T - 2000, 1, 0], [T, 1.001, 0]]);
  assert.deepEqual(coordinates(trailLines([runner], () => T)), [
    [[0, 0], [0.001, 0]],
    [[1, 0], [1.001, 0]],
  ]);
});

test("invisible moves are ignored, with a larger threshold outside the viewport", () => {
  // At zoom 12 a pixel is 0.00017 degrees.
  const moved = hasMoved({ west: -1, south: -1, east: 1, north: 1 }, 12);
  const from = (lng) => ({ lng, lat: 0 });
  assert.equal(moved(from(0), from(0.00005)), false);
  assert.equal(moved(from(0), from(0.0002)), true);
  assert.equal(moved(from(3), from(3.0002)), false);
  assert.equal(moved(from(3), from(3.01)), true);
});

test("moves are measured from the position that was sent last", () => {
  const diff = new PointDiff();
  const hasMovedFar = (from, to) => Math.abs(to.lng - from.lng) > 2;
  const bob = (lng) => [{ lng, lat: 0, properties: { code: "bob" } }];
  diff.to(bob(0), hasMovedFar);
  assert.equal(diff.to(bob(1.5), hasMovedFar), null);
  // Small steps add up.
  assert.equal(diff.to(bob(3), hasMovedFar).update.length, 1);
});

test("a ring has the radius of the accuracy, and only if that is large", () => {
  assert.equal(ringOf(20, 0), 0);
  assert.equal(ringOf(null, 0), 0);
  assert.ok(Math.abs(ringOf(78.2715, 0) * 1000 - 1) < 1e-6);
  assert.ok(Math.abs(ringOf(100, 60) / ringOf(100, 0) - 2) < 1e-6);
});

test("a label that the edge of the map would cut off is on the other side", () => {
  const checkpoints = [0, 0.01, 0.02].map((lng, id) => (
    { id, name: "15 km", kind: ["start", "split", "finish"][id], distance: 1000 * id, lat: 0, lng }
  ));
  const marks = courseMarks([{ line: [[0, 0], [0.02, 0]], length: 2000, checkpoints }]);
  const sides = () => marks.features.filter(({ properties }) => properties.name === "15 km")
    .map(({ properties }) => properties.side);
  const roomOf = ([lng]) => ({ left: 10 + 5000 * lng, right: 110 - 5000 * lng });
  assert.equal(labelsInView(marks, roomOf), true);
  assert.deepEqual(sides(), ["right", "any", "left"]);
  assert.equal(labelsInView(marks, roomOf), false);
  // A point outside of the map has its label where it was.
  labelsInView(marks, () => ({ left: -1, right: 300 }));
  assert.deepEqual(sides(), ["any", "any", "any"]);
});

test("followed runners who stand still cost no new picture", async () => {
  globalThis.requestAnimationFrame = setImmediate;
  const pictures = [];
  const source = (id) => ({
    setData: () => pictures.push(id),
    updateData: () => pictures.push(id),
  });
  const map = { getSource: source, getZoom: () => 14, hasImage: () => true };
  const followed = new Followed(map, {}, () => T + 1000, () => {});
  const view = {
    now: T + 1000, selected: null, isExact: true,
    alongOf: () => null, probable: () => null, finish: () => "",
  };
  const cleo = {
    ...bob([[T - 1000, 0, 0, null], [T, 0.001, 0, null]]),
    name: "Cleo", accuracy: 5, fix: { t: T, lng: 0.001, lat: 0, heading: null, speed: null },
  };
  const drawn = async () => {
    followed.show([cleo], view);
    for (let frame = 0; frame < 5; frame += 1) await new Promise(setImmediate);
    return pictures.splice(0).sort();
  };
  assert.deepEqual(await drawn(), ["followed", "heads", "probable", "ranges", "trails"]);
  assert.deepEqual(await drawn(), []);
  cleo.fix = { ...cleo.fix, t: T + 500, lng: 0.002 };
  cleo.trail.push([T + 500, 0.002, 0, null]);
  assert.deepEqual(await drawn(), ["followed", "heads", "trails"]);
});
