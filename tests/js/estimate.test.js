import assert from "node:assert/strict";
import { test } from "node:test";

import { Along } from "../../static/js/along.js";
import { atEstimate, rangeAt } from "../../static/js/estimate.js";
import { dataState, describe } from "../../static/js/liveness.js";

const NOW = 1_800_000_000_000;
const MINUTE_MS = 60_000;
const NODES = [[0, 5_000, 5_000, 5_000], [1_200, 9_000, 8_800, 10_000], [1_500, 10_000, 9_800, 10_000], [1_800, 10_000, 10_000, 10_000]];
const race = {
  along: new Along([[0, 50], [0, 51]], 20_000),
  checkpoints: [{ id: 7, name: "10 km", distance: 10_000 }],
};

/** A runner whom a mat has seen some minutes ago. */
const seen = (minutes, more = {}) => ({
  code: "bob", state: "started", fix: null,
  estimate: { t: NOW - minutes * MINUTE_MS, checkpoint: 7, nodes: NODES }, ...more,
});
const at = (runner, when = {}) => atEstimate(runner, race, { now: NOW, ...when });

test("places are interpolated between nodes, and stay at the mat", () => {
  assert.deepEqual(rangeAt(NODES, 600), { progress: 7_000, from: 6_900, to: 7_500 });
  assert.deepEqual(rangeAt(NODES, 1_500), { progress: 10_000, from: 9_800, to: 10_000 });
  assert.deepEqual(rangeAt(NODES, 9_000), { progress: 10_000, from: 10_000, to: 10_000 });
  assert.equal(rangeAt(NODES, -5).progress, 5_000);
});

test("a runner without a phone is estimated on the course", () => {
  const { fix, estimated } = at(seen(10));
  assert.deepEqual([fix.progress, estimated.from, estimated.to], [7_000, 6_900, 7_500]);
  assert.ok(Math.abs(fix.lat - 50.35) < 0.001);
  assert.equal(dataState(at(seen(10)), NOW), "estimated");
  assert.equal(describe(at(seen(10)), NOW).words, "Estimated, seen 10 min ago");
});

test("a mat that has not seen a runner in time is named", () => {
  assert.equal(describe(at(seen(29)), NOW).words, "Estimated, seen 29 min ago");
  const { words } = describe(at(seen(31)), NOW);
  assert.equal(words, "Estimated, not seen at 10 km, seen 31 min ago");
});

test("a runner whom no mat sees for long stands at the last one", () => {
  const runner = at(seen(90));
  assert.equal(runner.fix.progress, 5_000);
  assert.equal(dataState(runner, NOW), "lost");
  assert.equal(describe(runner, NOW).words, "Not seen at 10 km, seen 1 h ago");
  const over = at(seen(10), { isOver: true });
  assert.equal(describe(over, NOW, { isOver: true }).words, "Not finished, last seen at 5.0 km");
});

test("a phone that sends, or has sent since the mat, is believed", () => {
  const fix = (minutes) => ({ t: NOW - minutes * MINUTE_MS, progress: 1 });
  for (const minutes of [1, 9]) {
    const runner = seen(10, { fix: fix(minutes) });
    assert.equal(at(runner), runner);
  }
  assert.equal(at(seen(10, { fix: fix(11) })).fix.progress, 7_000);
});
