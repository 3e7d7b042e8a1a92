import assert from "node:assert/strict";
import { test } from "node:test";

import { decodePolyline } from "../../static/js/polyline.js";
import { Store, TRAIL_SPAN_MS } from "../../static/js/store.js";

const T = 1_800_000_000_000;
const described = (code, more = {}) => ({
  code,
  name: code,
  bib: null,
  colour: "#0072B2",
  state: null,
  fix: null,
  trail: "",
  race: null,
  ...more,
});

function storeOf(...runners) {
  const store = new Store();
  store.begin();
  store.applySnapshot({ runners, races: [], more: false });
  return store;
}

test("a polyline of precision 5 becomes [lng, lat]", () => {
  assert.deepEqual(decodePolyline("_p~iF~ps|U_ulLnnqC_mqNvxq`@"), [
    [-120.2, 38.5],
    [-120.95, 40.7],
    [-126.453, 43.252],
  ]);
  assert.deepEqual(decodePolyline(""), []);
});

test("a snapshot sets the positions of runners", () => {
  const store = storeOf(described("bob", { fix: [T, 53.1, -6.1, 3.2, 90, 1200] }));
  const { fix } = store.runners.get("bob");
  const where = { lat: 53.1, lng: -6.1, progress: 1200, uncertainty: null };
  assert.deepEqual(fix, { t: T, speed: 3.2, heading: 90, ...where });
});

test("a snapshot in parts removes runners only with its last part", () => {
  const store = storeOf(described("bob"), described("eve"));
  store.begin();
  store.applySnapshot({ runners: [described("eve")], races: [], more: true });
  assert.equal(store.runners.has("bob"), true);
  store.applySnapshot({ runners: [described("cat")], races: [], more: false });
  assert.deepEqual([...store.runners.keys()].sort(), ["cat", "eve"]);
});

test("a later snapshot on the same socket only adds", () => {
  const store = storeOf(described("bob"));
  store.applySnapshot({ runners: [described("eve")], races: [], more: false });
  assert.deepEqual([...store.runners.keys()].sort(), ["bob", "eve"]);
});

test("a marker never moves back in time", () => {
  const store = storeOf(described("bob", { fix: [T, 53.1, -6.1, null, null, null] }));
  store.applyPositions([["bob", T - 5000, 50, 0, null, null, null]]);
  assert.equal(store.runners.get("bob").fix.t, T);
  store.applyPositions([["bob", T + 1000, 53.2, -6.1, null, null, null]]);
  assert.equal(store.runners.get("bob").fix.lat, 53.2);
});

test("a known fix is ignored", () => {
  const store = storeOf(described("bob", { fix: [T, 53.1, -6.1, null, null, null] }));
  store.applyPositions([["bob", T, 53.1, -6.1, null, null, null]]);
  assert.equal(store.runners.get("bob").trail.length, 1);
});

test("late points are inserted into the trail and do not move the marker", () => {
  const store = storeOf(described("bob", { fix: [T, 53.3, -6.1, null, null, null] }));
  store.applyLate("bob", [
    [T - 2000, 53.1, -6.1],
    [T - 1000, 53.2, -6.1],
    [T - 2000, 53.1, -6.1],
  ]);
  const { fix, trail } = store.runners.get("bob");
  assert.equal(fix.t, T);
  assert.deepEqual(trail.map(([t]) => t), [T - 2000, T - 1000, T]);
});

test("a trail is limited to the last minutes", () => {
  const store = storeOf(described("bob"));
  for (const past of [TRAIL_SPAN_MS + 60_000, TRAIL_SPAN_MS, 1000, 0]) {
    store.applyPositions([["bob", T - past, 53, -6, null, null, null]]);
  }
  assert.deepEqual(
    store.runners.get("bob").trail.map(([t]) => T - t),
    [TRAIL_SPAN_MS, 1000, 0],
  );
});

test("events add, change and remove runners", () => {
  const store = storeOf(described("bob"));
  store.applyEvent({ kind: "runner", change: "added", runner: described("eve") });
  store.applyEvent({ kind: "runner", change: "changed", runner: described("bob", { bib: "17" }) });
  assert.equal(store.runners.get("bob").bib, "17");
  store.applyEvent({ kind: "runner", change: "removed", runner: "eve" });
  assert.equal(store.runners.has("eve"), false);
});

test("a changed runner without a fix has erased their positions", () => {
  const store = storeOf(described("bob", { fix: [T, 53.1, -6.1, null, null, null] }));
  store.applyEvent({ kind: "runner", change: "changed", runner: described("bob") });
  assert.equal(store.runners.get("bob").fix, null);
  assert.deepEqual(store.runners.get("bob").trail, []);
});

test("a withdrawn split is removed", () => {
  const store = storeOf(described("bob"));
  const split = { kind: "split", runner: "bob", checkpoint: 12, distance: 5000, at: T, uncertainty: 4 };
  store.applyEvent({ ...split, pass: 1 });
  store.applyEvent({ ...split, pass: 2 });
  store.applyEvent({ ...split, pass: 2, corrected: true, withdrawn: true });
  assert.deepEqual([...store.runners.get("bob").splits.keys()], ["12 1"]);
});

test("the runners of a race that is no longer shared are removed", () => {
  const store = storeOf(described("bob", { race: "half" }), described("eve"));
  store.applyEvent({ kind: "access", race: "half", reason: "revoked" });
  assert.deepEqual([...store.runners.keys()], ["eve"]);
});

test("a runner whose access ends is removed", () => {
  const store = storeOf(described("bob"));
  const gone = store.applyEvent({ kind: "access", runner: "bob", reason: "private" });
  assert.equal(gone.code, "bob");
  assert.equal(store.runners.size, 0);
});
