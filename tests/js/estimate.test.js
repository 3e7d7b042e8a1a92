import assert from "node:assert/strict";
import { test } from "node:test";

import { Along } from "../../static/js/along.js";
import { atEstimate, rangeAt } from "../../static/js/estimate.js";
import { Shown } from "../../static/js/live/shown.js";
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

test("the fix of a phone is shown while it sends, past the next mat and off the course", () => {
  const phone = (minutes, progress, more = {}) =>
    seen(10, { fix: { t: NOW - minutes * MINUTE_MS, progress }, ...more });
  const believed = [
    phone(1, 6_000), phone(5, 10_000), phone(5, null), phone(5, 4_990),
    phone(5, 6_000, { state: "off_course" }),
  ];
  for (const runner of believed) assert.equal(at(runner), runner);
  assert.equal(at(phone(11, 1)).fix.progress, 7_000);
});

test("a runner whose phone falls silent after a mat goes on from its last position", () => {
  const silent = (minutes) => at(seen(minutes + 5, { fix: { t: NOW - minutes * MINUTE_MS, progress: 7_000 } }));
  const { fix, estimated } = silent(3);
  // At 3.33 m/s; the slow end of the range is at 3.17 m/s, and the fast one at 4.17 m/s.
  assert.deepEqual(
    [fix.progress, estimated.from, estimated.to].map(Math.round), [7_600, 7_570, 7_750],
  );
  assert.equal(fix.t, NOW - 3 * MINUTE_MS);
  assert.equal(describe(silent(3), NOW).words, "Estimated, seen 3 min ago");
  // The slow end passes the phone's last position 10.5 min after the mat, and is due at
  // the next one 19.5 min later.
  assert.equal(silent(19).estimated.missed, null);
  assert.equal(silent(20).estimated.missed, "10 km");
  assert.equal(silent(50).fix.progress, 7_000);
});

test("a silent phone goes on from where one end of the range begins or stops", () => {
  // The time of the last mat is uncertain, and the near end stops before the next one.
  const nodes = [[0, 9_900, 9_900, 10_000], [30, 10_000, 9_920, 10_000], [150, 10_000, 9_998, 10_000]];
  const silent = (progress) => at({
    ...seen(10, { fix: { t: NOW - 3 * MINUTE_MS, progress } }),
    estimate: { t: NOW - 10 * MINUTE_MS, checkpoint: 7, nodes },
  }).estimated;
  for (const progress of [9_950, 9_999]) assert.equal(silent(progress).progress, 10_000);
});

test("a runner whose estimate fails is drawn unchanged beside the others", (t) => {
  const log = t.mock.method(console, "error", () => {});
  const broken = seen(10, { code: "ann", estimate: { t: NOW, checkpoint: 7, nodes: [] } });
  const shown = new Shown({
    page: { race: { slug: "ten" } }, clock: { now: () => NOW }, results: { of: () => null },
    store: {
      runners: new Map([["ann", broken], ["bob", seen(10)]]), races: new Map(), courseOf: () => race,
    },
  });
  const [ann, bob] = shown.runners();
  assert.equal(ann, broken);
  assert.equal(bob.fix.progress, 7_000);
  assert.match(log.mock.calls[0].arguments[0], /ann/);
});
