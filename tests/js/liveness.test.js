import assert from "node:assert/strict";
import { test } from "node:test";

import { ServerClock } from "../../static/js/clock.js";
import { dataState, describe, liveness } from "../../static/js/liveness.js";

const NOW = 1_800_000_000_000;
const bob = (age, more = {}) => ({
  state: null,
  fix: { t: NOW - age, progress: null },
  ...more,
});

test("liveness depends on the age of the last fix", () => {
  for (const [age, state] of [
    [0, "live"],
    [29_999, "live"],
    [30_000, "delayed"],
    [119_999, "delayed"],
    [120_000, "stale"],
    [599_999, "stale"],
    [600_000, "lost"],
  ]) {
    assert.equal(liveness(NOW - age, NOW), state, `${age} ms`);
  }
});

test("a runner without a fix is lost, with the text for it", () => {
  const unseen = { state: "registered", fix: null };
  assert.equal(dataState(unseen, NOW), "lost");
  assert.equal(describe(unseen, NOW).words, "Not seen yet");
});

test("a finisher stays finished whatever the age of the fix", () => {
  assert.equal(dataState(bob(3_600_000, { state: "finished" }), NOW), "finished");
});

test("a runner off course has a separate shape and is still live", () => {
  const { state, shape, words } = describe(bob(4000, { state: "off_course" }), NOW);
  assert.deepEqual([state, shape], ["live", "off_course"]);
  assert.equal(words, "Off course, seen 4 s ago");
});

test("a lost runner is shown with their last progress", () => {
  const lost = bob(14 * 60_000, {});
  lost.fix.progress = 13_240;
  assert.equal(describe(lost, NOW).words, "No signal for 14 min, last at 13.2 km");
});

test("over means over for a runner who has not finished", () => {
  const late = bob(29 * 60_000, { state: "started" });
  late.fix.progress = 32_100;
  const { state, words } = describe(late, NOW, { isOver: true });
  assert.deepEqual([state, words], ["lost", "Not finished, last seen at 32.1 km"]);
  for (const state of ["off_course", "paused", "registered", null]) {
    assert.match(describe({ ...late, state }, NOW, { isOver: true }).words, /^Not finished/);
  }
  assert.equal(describe({ state: "started", fix: null }, NOW, { isOver: true }).words, "Not finished");
  assert.equal(describe(bob(0), NOW, { isReplay: true }).words, "Running");
  const out = bob(4000, { state: "dnf" });
  assert.equal(describe(out, NOW, { isOver: true }).words, "Did not finish, seen 4 s ago");
  // Their phone is live, they are not. Far away after an hour, they do not widen the map.
  assert.deepEqual([dataState(out, NOW), describe(out, NOW).shape], ["stale", "stale"]);
  assert.equal(dataState(bob(3_600_000, { state: "dnf" }), NOW), "lost");
});

test("a finisher's time is shown where it is known", () => {
  const finisher = bob(3_600_000, { state: "finished" });
  assert.equal(describe(finisher, NOW, { time: 8_392_000 }).words, "Finished in 2:19:52");
});

test("the server's clock is used, whatever the device's clock shows", () => {
  let running = 500;
  const clock = new ServerClock(NOW, () => running);
  running += 2000;
  assert.equal(clock.now(), NOW + 2000);
  clock.saw(NOW + 60_000);
  running += 1000;
  assert.equal(clock.now(), NOW + 61_000);
});
