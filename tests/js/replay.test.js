import assert from "node:assert/strict";
import { test } from "node:test";

import { Replay } from "../../static/js/replay.js";

const CHUNK = 300_000;
const T = CHUNK * 6_000_000;
const bob = { code: "bob", name: "Bob", race: "half", fix: null, trail: [], splits: new Map() };

function replayOf(chunks, late = 0) {
  const requested = [];
  const replay = new Replay({
    url: "/replay.json",
    start: T,
    headers: {},
    onChange: () => {},
    fetch: async (url) => {
      requested.push(url);
      const begins = Number(url.split("=")[1]);
      const points = chunks[begins - T] ?? [];
      const gun = T + late;
      return { ok: true, json: async () => ({ guns: [T, gun], runners: [{ code: "bob", gun, points }] }) };
    },
  });
  return { replay, requested };
}

const soon = () => new Promise((resolve) => setTimeout(resolve));
const at = (replay, time) => replay.at([bob], T + time, 60_000, () => null)[0];

test("a replay requests the current chunk and the next one, each once", async () => {
  const { replay, requested } = replayOf({});
  assert.equal(replay.prepare(T + 90_000, 60_000), false);
  await soon();
  assert.equal(replay.prepare(T + 90_001, 60_000), true);
  assert.deepEqual(requested, [`/replay.json?from=${T}`, `/replay.json?from=${T + CHUNK}`]);
});

test("a runner of a replay is interpolated between two points, with a trail", async () => {
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

test("a runner keeps their last position in a gap, and has none before the first point", async () => {
  const { replay } = replayOf({ 0: [[T + 10_000, 48, 1, 0], [T + 200_000, 48, 2, 900]] });
  replay.prepare(T, 60_000);
  await soon();
  assert.equal(at(replay, 5000).fix, null);
  assert.equal(at(replay, 40_000).fix.lng, 1);
  assert.equal(at(replay, 40_000).fix.t, T + 10_000);
});

test("a replay is interpolated across chunks", async () => {
  const { replay } = replayOf({
    0: [[T + CHUNK - 2000, 48, 1, 0]],
    [CHUNK]: [[T + CHUNK + 2000, 48, 1.002, 8]],
  });
  replay.prepare(T + CHUNK - 2000, 60_000);
  await soon();
  assert.ok(Math.abs(at(replay, CHUNK).fix.lng - 1.001) < 1e-9);
});

test("with a mass start, later waves are shown as if they had started with the first", async () => {
  const late = CHUNK + 60_000;
  const points = [0, 5, 10].map((s) => [T + late + s * 1000, 48, s / 10_000, s * 3]);
  const { replay, requested } = replayOf({ [CHUNK]: points }, late);
  replay.prepare(T, 60_000);
  await soon();
  assert.ok(replay.hasWaves);
  assert.equal(at(replay, 7500).fix, null);
  replay.isMassStart = true;
  replay.prepare(T, 60_000);
  await soon();
  assert.ok(requested.includes(`/replay.json?from=${T + CHUNK}`));
  const { fix, trail } = at(replay, 7500);
  assert.deepEqual([fix.t, fix.progress], [T + 7500, 22.5]);
  assert.deepEqual(trail.map(([t]) => t - T), [0, 5000, 7500]);
  assert.equal(replay.shift("bob"), late);
});

test("a runner of the replay has finished from the time of the result on", async () => {
  const { replay } = replayOf({ 0: [[T, 48, 1, 0], [T + 50_000, 48, 1.001, 90]] });
  replay.prepare(T, 60_000);
  await soon();
  const state = (time) => replay.at([bob], T + time, 60_000, () => null, () => 40_000)[0].state;
  assert.deepEqual([state(39_999), state(40_000)], [null, "finished"]);
});
