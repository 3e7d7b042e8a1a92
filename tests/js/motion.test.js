import assert from "node:assert/strict";
import { test } from "node:test";

import { Along } from "../../static/js/along.js";
import { Motion } from "../../static/js/map/motion.js";
import { metresBetween } from "../../static/js/metres.js";

const T = 1_800_000_000_000;
const METRE = 1 / metresBetween([0, 0], [1, 0]); // degrees at the equator

/** Return a runner with fixes [t after T, metres east, metres north, progress]. */
function bob(rows, more = {}) {
  const trail = rows.map(([t, x, y, progress = null]) => [T + t, x * METRE, y * METRE, progress]);
  const [t, lng, lat, progress] = trail.at(-1);
  const fix = { t, lng, lat, progress, speed: 3, heading: 90, ...more };
  return { code: "bob", state: "started", fix, trail };
}

/** Return the position of the marker in metres. */
function metres({ at }) {
  return at.map((degrees) => Math.round(degrees / METRE));
}

/** Return a motion that received each fix when it was `lag` ms old. */
function motionOf(rows, { lag = 500, along = null, ...more } = {}) {
  const motion = new Motion();
  let now = T;
  rows.forEach((_, n) => {
    const until = T + rows[n][0] + lag;
    for (; n > 0 && now < until; now += 50) motion.place("bob", now);
    now = until;
    motion.aim(bob(rows.slice(0, n + 1), more), along, now);
  });
  return { motion, now };
}

const STEADY = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((s) => [s * 1000, s * 3, 0]);

test("a marker moves smoothly, slightly in the past, without jumps", () => {
  const { motion, now } = motionOf(STEADY);
  const places = [0, 250, 500, 750, 1000].map((ms) => motion.place("bob", now + ms));
  const xs = places.map(({ at }) => at[0] / METRE);
  for (let n = 1; n < xs.length; n += 1) {
    assert.ok(xs[n] >= xs[n - 1] && xs[n] - xs[n - 1] < 1.5, xs.join(" "));
  }
  assert.ok(places.every(({ predicted }) => !predicted));
});

test("a marker follows the course between two fixes", () => {
  // Around a corner: 50 m east, then 50 m north.
  const along = new Along([[0, 0], [50 * METRE, 0], [50 * METRE, 50 * METRE]], 100);
  const corner = [[0, 30, 0, 30], [10_000, 50, 20, 70]];
  const motion = new Motion();
  motion.aim(bob(corner), along, T + 10_000 + 5000);
  // Drawn 5 s behind: half way, which is the corner itself.
  assert.deepEqual(metres(motion.place("bob", T + 10_000)), [50, 0]);
});

test("a marker is predicted for a few seconds, and marked as such", () => {
  const { motion, now } = motionOf(STEADY);
  const soon = motion.place("bob", now + 4000);
  assert.equal(soon.predicted, true);
  assert.deepEqual(metres({ at: soon.from }), [24, 0]);
  assert.ok(metres(soon)[0] > 24);
  const later = metres(motion.place("bob", now + 20_000))[0];
  assert.equal(later, 24 + 5 * 3);
  assert.equal(motion.isMoving(now + 20_000), false);
});

test("no position is predicted for a runner without a recent fix", () => {
  const { motion, now } = motionOf(STEADY);
  const place = motion.place("bob", now + 31_000);
  assert.equal(place.predicted, false);
  assert.deepEqual(metres(place), [24, 0]);
});

test("no position is predicted after the finish, or without speed or heading", () => {
  for (const more of [{ speed: 0 }, { speed: null }, { heading: null }]) {
    const { motion, now } = motionOf(STEADY, more);
    assert.equal(motion.place("bob", now + 5000).predicted, false);
  }
  const motion = new Motion();
  motion.aim({ ...bob(STEADY), state: "finished" }, null, T + 8000);
  assert.equal(motion.place("bob", T + 12_000).predicted, false);
});

test("a correction by a new fix is no jump", () => {
  const { motion, now } = motionOf(STEADY);
  for (let ms = 0; ms < 6000; ms += 50) motion.place("bob", now + ms);
  const before = metres(motion.place("bob", now + 6000))[0];
  // He had stopped at 25 m.
  motion.aim(bob([...STEADY, [14_000, 25, 0]], { speed: 0 }), null, now + 6010);
  const after = metres(motion.place("bob", now + 6010))[0];
  assert.ok(Math.abs(before - after) <= 2, `${before} ${after}`);
  assert.deepEqual(metres(motion.place("bob", now + 12_000)), [25, 0]);
});

test("a frame with an earlier time than the last message does not move the marker back", () => {
  const motion = new Motion();
  motion.aim(bob([[0, 0, 0]]), null, T);
  const before = motion.place("bob", T + 900).at[0];
  motion.aim(bob([[0, 0, 0], [1000, 3, 0]]), null, T + 1000);
  assert.ok(motion.place("bob", T + 985).at[0] >= before);
  // A corrected clock does not move it either.
  assert.ok(Math.abs(motion.place("bob", T - 10_000).at[0]) < 3 * METRE);
});

test("a marker jumps to a position that cannot be reached by running", () => {
  const motion = new Motion();
  motion.aim(bob([[0, 0, 0], [1000, 100_000, 0]]), null, T + 1000);
  // Half of the time has passed, but the marker is not drawn half way.
  assert.deepEqual(metres(motion.place("bob", T + 1600)), [100_000, 0]);
});
