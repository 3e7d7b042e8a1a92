import assert from "node:assert/strict";
import { test } from "node:test";

import { Catchup } from "../../static/js/catchup.js";
import { ServerClock } from "../../static/js/clock.js";
import { Polling } from "../../static/js/polling.js";
import { Tracks } from "../../static/js/tracks.js";

const positions = (time, merged = 0) => ({ type: "positions", time, merged, fixes: [] });
const snapshot = (more, truncated = []) => ({ type: "snapshot", time: 90, more, truncated });

function caughtUp(time) {
  const catchup = new Catchup();
  catchup.begin();
  catchup.follow();
  catchup.saw(snapshot(false));
  catchup.saw(positions(time));
  return catchup;
}

test("frames count only after the last part of the snapshot, and the snapshot never", () => {
  const catchup = new Catchup();
  catchup.begin();
  assert.equal(catchup.follow(), null);
  catchup.saw({ type: "welcome", time: 5 });
  catchup.saw(positions(10));
  catchup.saw(snapshot(true));
  catchup.saw(positions(20));
  catchup.saw(snapshot(false));
  assert.equal(catchup.since, null);
  catchup.saw(positions(30));
  assert.equal(catchup.since, 30);
});

test("a page that is cut off again before it caught up resumes from the same time", () => {
  const catchup = caughtUp(30);
  for (const time of [100, 200]) {
    catchup.begin();
    assert.equal(catchup.follow(), 30);
    catchup.saw(snapshot(true));
    catchup.saw(positions(time));
  }
  assert.equal(catchup.since, 30);
});

test("a second follow on the same connection must be complete too", () => {
  const catchup = caughtUp(30);
  catchup.follow();
  catchup.saw(positions(40));
  assert.equal(catchup.since, 30);
  catchup.saw(snapshot(false));
  catchup.saw(positions(50));
  assert.equal(catchup.since, 50);
});

test("a follow that failed is repeated with the same time", () => {
  const catchup = caughtUp(30);
  catchup.follow();
  catchup.saw({ type: "error", code: "store.unavailable" });
  assert.equal(catchup.follow(), 30);
  catchup.saw(positions(40));
  assert.equal(catchup.since, 30);
});

test("a truncated runner is fetched since the last complete time", () => {
  const catchup = caughtUp(30);
  catchup.begin();
  catchup.follow();
  assert.deepEqual(catchup.saw(snapshot(false, ["bob"])), { codes: ["bob"], since: 30 });
});

test("merged positions are missing since the previous frame", () => {
  const catchup = caughtUp(30);
  catchup.saw(positions(40, 2));
  catchup.saw(positions(50, 1));
  assert.equal(catchup.popMerged(), 30);
  assert.equal(catchup.popMerged(), null);
});

test("a delayed frame does not set the clock back", () => {
  let running = 0;
  const clock = new ServerClock(1000, () => running, () => running);
  running = 100;
  clock.saw(800); // 300 ms late
  assert.ok(clock.now() > 1090);
  clock.saw(400_000);
  assert.equal(clock.now(), 400_000);
});

test("ages grow while the device sleeps, whatever its clock shows", () => {
  let running = 0;
  let date = 5_000_000; // the clock may be wrong by minutes or years
  const clock = new ServerClock(1000, () => running, () => date);
  running += 10;
  date += 10;
  assert.equal(clock.now(), 1010);
  date += 3_600_000; // performance.now() stood still
  assert.equal(clock.now(), 1010 + 3_600_000);
  clock.saw(3_700_000);
  assert.equal(clock.now(), 3_700_000);
});

const answer = (status, body) => ({ status, ok: status === 200, json: async () => body });

// A test that takes longer hangs.
const PATIENCE_MS = 60_000;

async function until(holds) {
  const deadline = performance.now() + PATIENCE_MS;
  while (!holds()) {
    assert.ok(performance.now() < deadline, "The condition never held.");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

test("a track is requested until it arrives, and again if more is missing by then", async () => {
  const requested = [];
  const got = [];
  const answers = [answer(503), answer(200, { points: [1] }), answer(200, { points: [2] })];
  const tracks = new Tracks({
    url: "/runners/CODE/track.json",
    headers: {},
    onPoints: (code, points) => got.push([code, points]),
    retry: 1,
    fetch: async (url) => {
      requested.push(url);
      return answers.shift();
    },
  });
  tracks.want("bob", 50);
  tracks.want("bob", 70);
  await until(() => got.length > 0);
  assert.equal(requested[0], "/runners/bob/track.json?since=50");
  assert.ok(requested.length >= 2);
  assert.deepEqual(got[0], ["bob", [1]]);
});

test("a forbidden track is not requested again", async () => {
  const requested = [];
  const got = [];
  const answers = [answer(404), answer(503), answer(200, { points: [] })];
  const tracks = new Tracks({
    url: "CODE",
    headers: {},
    onPoints: (code) => got.push(code),
    retry: 1,
    fetch: async (url) => {
      requested.push(url);
      return answers.shift();
    },
  });
  tracks.want("bob", 0);
  // Eve's track is requested again, after the delay that would apply to Bob's.
  tracks.want("eve", 0);
  await until(() => got.length > 0);
  assert.deepEqual(requested, ["bob?since=0", "eve?since=0", "eve?since=0"]);
  assert.deepEqual(got, ["eve"]);
});

test("polling continues after a failure and ends when it is refused", async () => {
  const snapshots = [];
  let refusal = null;
  const answers = [answer(200, { time: 1 }), answer(503), answer(410, { code: "share.revoked" })];
  const polling = new Polling({
    url: () => "/live.json",
    headers: {},
    onSnapshot: (snapshot) => snapshots.push(snapshot),
    onRefused: (body) => (refusal = body),
    onFailure: () => {},
    every: 1,
    fetch: async () => answers.shift(),
  });
  polling.start();
  await until(() => refusal !== null);
  assert.equal(snapshots.length, 1);
  assert.equal(refusal.code, "share.revoked");
  assert.equal(answers.length, 0);
});
