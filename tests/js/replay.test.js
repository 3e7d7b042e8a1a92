import assert from "node:assert/strict";
import { test } from "node:test";

import { Replay } from "../../static/js/replay.js";

const CHUNK = 300_000;
const T = CHUNK * 6_000_000;
const bob = { code: "bob", name: "Bob", race: "half", fix: null, trail: [], splits: new Map() };

function replayOf(chunks, late = 0) {
  const asked = [];
  const replay = new Replay({
    url: "/replay.json",
    start: T,
    headers: {},
    onChange: () => {},
    fetch: async (url) => {
      asked.push(url);
      const begins = Number(url.split("=")[1]);
      const points = chunks[begins - T] ?? [];
      const gun = T + late;
      return { ok: true, json: async () => ({ guns: [T, gun], runners: [{ code: "bob", gun, points }] }) };
    },
  });
  return { replay, asked };
}

const soon = () => new Promise((resolve) => setTimeout(resolve));
const at = (replay, time) => replay.at([bob], T + time, 60_000, () => null)[0];

test("a replay fetches the chunk it shows and the next one, each once", async () => {
  const { replay, asked } = replayOf({});
  assert.equal(replay.prepare(T + 90_000, 60_000), false);
  await soon();
  assert.equal(replay.prepare(T + 90_001, 60_000), true);
  assert.deepEqual(asked, [`/replay.json?from=${T}`, `/replay.json?from=${T + CHUNK}`]);
});

test("a runner of the replay is between two points, with a tail", async () => {
  const points = [0, 5, 10].map((s) => [T + s * 1000, 48, s / 10_000, s * 3]);
  const { replay } = replayOf({ 0: points });
  replay.prepare(T, 60_000);
  await soon();
  const { fix, trail } = at(replay, 7500);
  assert.equal(fix.t, T + 7500);
  assert.ok(Math.abs(fix.lng - 0.00075) < 1e-9);
  assert.equal(fix.progress, 22.5);
  assert.equal(fix.speed, 3);
  assert.deepEqual(trail.map(([t]) => t - T), [0, 5000, 7500]);
});

test("a runner is where they were last over a gap, and nowhere before the first point", async () => {
  const { replay } = replayOf({ 0: [[T + 10_000, 48, 1, 0], [T + 200_000, 48, 2, 900]] });
  replay.prepare(T, 60_000);
  await soon();
  assert.equal(at(replay, 5000).fix, null);
  assert.equal(at(replay, 40_000).fix.lng, 1);
  assert.equal(at(replay, 40_000).fix.t, T + 10_000);
});

test("a replay goes on over the seam of two chunks", async () => {
  const { replay } = replayOf({
    0: [[T + CHUNK - 2000, 48, 1, 0]],
    [CHUNK]: [[T + CHUNK + 2000, 48, 1.002, 8]],
  });
  replay.prepare(T + CHUNK - 2000, 60_000);
  await soon();
  assert.ok(Math.abs(at(replay, CHUNK).fix.lng - 1.001) < 1e-9);
});

test("with one start for all a later wave is shown as if it had started with the first", async () => {
  const late = CHUNK + 60_000;
  const points = [0, 5, 10].map((s) => [T + late + s * 1000, 48, s / 10_000, s * 3]);
  const { replay, asked } = replayOf({ [CHUNK]: points }, late);
  replay.prepare(T, 60_000);
  await soon();
  assert.ok(replay.hasWaves);
  assert.equal(at(replay, 7500).fix, null);
  replay.isMassStart = true;
  replay.prepare(T, 60_000);
  await soon();
  assert.ok(asked.includes(`/replay.json?from=${T + CHUNK}`));
  const { fix, trail } = at(replay, 7500);
  assert.deepEqual([fix.t, fix.progress], [T + 7500, 22.5]);
  assert.deepEqual(trail.map(([t]) => t - T), [0, 5000, 7500]);
  assert.equal(replay.shift("bob"), late);
});
