import assert from "node:assert/strict";
import { test } from "node:test";

import { Arrivals } from "../../static/js/arrivals.js";
import {
  awayWords, categoryWords, finishWords, gapWords, lastCheckpoint, lastSplit, nextCheckpoint, nextWords, orderKey, ordinal, phoneWords,
  probableWords,
  rangeWords, ranks,
} from "../../static/js/facts.js";

const NOW = 1_800_000_000_000;
const MINUTE = 60_000;
const race = {
  slug: "half",
  checkpoints: [
    { id: 1, name: "Start", kind: "start", distance: 0 },
    { id: 2, name: "15 km", kind: "split", distance: 15_000 },
    { id: 3, name: "Finish", kind: "finish", distance: 21_100 },
  ],
};
const runner = (code, progress, more = {}) => ({
  code, race: "half", state: "started", splits: new Map(), fix: { progress, lng: 0, lat: 0 }, ...more,
});

test("runners are ranked within their race, with equal ranks for equal progress", () => {
  const found = ranks([
    runner("bob", 300), runner("eve", 500), runner("cat", 300), runner("dan", 100),
    runner("ann", 900, { race: "other" }), runner("fay", null), runner("gil", 400, { state: "dnf" }),
  ]);
  assert.deepEqual([...found].sort(), [["bob", 2], ["cat", 2], ["dan", 4], ["eve", 1]]);
});

test("a list stands in the order of its ranks, with finishers first and lost signals last", () => {
  const finished = { state: "finished" };
  const places = { ann: 2, bob: 1, cat: 4, dan: 5, eve: 3 };
  const ordered = [
    runner("lou", 900), runner("dan", 400), runner("gil", 500, { state: "dnf" }),
    runner("new", 21_100, finished), runner("ann", 21_100, finished), runner("cat", 300),
    runner("bob", 21_000, finished), runner("eve", 200),
  ].map((of) => ({ of, key: orderKey(of, places[of.code], of.code === "lou") }));
  ordered.sort((a, b) => a.key - b.key);
  const codes = ordered.map(({ of }) => of.code);
  assert.deepEqual(codes, ["bob", "ann", "new", "eve", "cat", "dan", "gil", "lou"]);
});

test("runners in the race rank behind the finishers, whose progress has no rank", () => {
  const found = ranks([
    runner("ann", 21_100, { state: "finished" }), runner("bob", 21_090, { state: "finished" }),
    runner("cat", 21_095), runner("dan", 100),
  ]);
  assert.deepEqual([...found].sort(), [["cat", 3], ["dan", 4]]);
});

test("a silent runner is estimated in a range", () => {
  assert.equal(probableWords({ from: 17_620, to: 18_290 }), "Estimated at 17.6–18.3 km");
  assert.equal(probableWords({ from: 900, to: 1_290 }), "Estimated at 900 m–1.3 km");
  assert.equal(probableWords({ from: 1_290, to: 1_310 }), "Estimated at 1.3 km");
  assert.equal(probableWords(null), "");
});

test("a gap says whether it has become smaller", () => {
  const at = (name, seconds) => ({ name, gap: 1000 * seconds });
  assert.equal(gapWords("Ann", at("10 km", 34), null), "0:34 behind Ann at 10 km");
  assert.equal(gapWords("Ann", at("10 km", 34), at("5 km", 36)), "0:34 behind Ann at 10 km");
  assert.equal(
    gapWords("Ann", at("10 km", 34), at("5 km", 39)),
    "0:34 behind Ann at 10 km, 0:05 less than at 5 km",
  );
  assert.equal(
    gapWords("Ann", at("10 km", 94), at("5 km", 34)),
    "1:34 behind Ann at 10 km, 1:00 more than at 5 km",
  );
  // A runner of an earlier wave may have passed first and been overtaken since.
  assert.equal(gapWords("Ann", at("10 km", -34), null), "0:34 ahead of Ann at 10 km");
});

test("a rank has an ordinal suffix", () => {
  assert.deepEqual([1, 2, 3, 4, 11, 12, 21, 112, 123].map(ordinal), [
    "1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "112th", "123rd",
  ]);
});

test("the next checkpoint is the first one ahead, none after the finish", () => {
  assert.equal(nextCheckpoint(runner("bob", 0), race).name, "15 km");
  assert.equal(nextCheckpoint(runner("bob", 15_000), race).name, "Finish");
  assert.equal(nextCheckpoint(runner("bob", 21_100), race), null);
  assert.equal(nextCheckpoint(runner("bob", 9000, { state: "dnf" }), race), null);
  assert.equal(nextCheckpoint(runner("bob", null), race), null);
});

test("the next checkpoint has a time range if it is known, otherwise a distance", () => {
  const arrival = { earliest: NOW + 11.2 * MINUTE, latest: NOW + 12.7 * MINUTE };
  assert.equal(nextWords(runner("bob", 12_000), race, arrival, NOW), "15 km in 11–13 min");
  assert.equal(nextWords(runner("bob", 12_000), race, null, NOW), "15 km in 3.0 km");
  assert.equal(nextWords(runner("bob", 12_000), null, null, NOW), "");
});

test("the expected finish is a range of times of day", () => {
  const at = (minutes) => new Date(2026, 5, 1, 13, minutes).getTime();
  const finish = race.checkpoints[2];
  const words = finishWords(finish, { earliest: at(41), latest: at(48) });
  assert.match(words, /^Finish .*41.*–.*48/);
  assert.equal(finishWords(finish, { earliest: null, latest: null }), "");
  assert.equal(finishWords(finish, null), "");
});

test("a finisher's card names the rank in the category", () => {
  assert.equal(categoryWords({ category: "M40", category_rank: 3 }), "3rd in M40");
  assert.equal(categoryWords({ category: "", category_rank: null }), "");
  assert.equal(categoryWords(null), "");
});

test("a range counts down to now", () => {
  const range = (from, to) => ({ earliest: NOW + from * MINUTE, latest: NOW + to * MINUTE });
  assert.equal(rangeWords(range(0.2, 2), NOW), "in 0–2 min");
  assert.equal(rangeWords(range(-1, 0.5), NOW), "about now");
  assert.equal(rangeWords(range(75, 130), NOW), "in 1:15–2:10 h");
  assert.equal(rangeWords({ earliest: null, latest: null }, NOW), "");
});

test("the last split shows its uncertainty if it is large", () => {
  const splits = new Map([
    ["2 1", { checkpoint: 2, distance: 15_000, at: NOW, uncertainty: 12 }],
    ["1 1", { checkpoint: 1, distance: 0, at: NOW - MINUTE, uncertainty: 1 }],
  ]);
  assert.match(lastSplit(runner("bob", 15_100, { splits }), race), /^15 km at [\d:]+ ± 12 s$/);
  assert.equal(lastSplit(runner("bob", 1), race), "");
});

test("a checkpoint that was passed before the page was opened is shown", () => {
  assert.equal(lastCheckpoint(runner("bob", 15_100), race).name, "15 km");
  assert.equal(lastCheckpoint(runner("bob", 15_100), null), null);
});

test("the distance to me is shown only if it is known", () => {
  assert.equal(awayWords(runner("bob", 1), [0, 0.01]), "1.1 km from you");
  assert.equal(awayWords(runner("bob", 1), null), "");
});

test("arrivals are requested once, cached, and requested again when they are old", async () => {
  const requested = [];
  const pass = { status: "expected", at: NOW + MINUTE };
  const arrivals = new Arrivals({
    url: "/races/SLUG/eta.json",
    headers: {},
    onChange: () => {},
    fetch: async (url) => {
      requested.push(url);
      const runners = [{ runner: "bob", passes: [pass] }];
      return { ok: true, json: async () => ({ race: "half", time: NOW, runners }) };
    },
  });
  assert.equal(arrivals.at("half", "15000", ["bob"], 0), null);
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(arrivals.at("half", "15000", ["bob"], 10), [{ code: "bob", ...pass }]);
  assert.deepEqual(requested, ["/races/half/eta.json?at=15000&runners=bob"]);
  arrivals.at("half", "15000", ["bob"], 30_000);
  arrivals.at("half", "15000", ["bob", "eve"], 30_001);
  assert.equal(requested.length, 3);
});

test("arrivals are requested more rarely, the later they are", async () => {
  const waits = async (/** @type {any} */ answer) => {
    let requests = 0;
    const arrivals = new Arrivals({
      url: "/races/SLUG/eta.json",
      headers: {},
      onChange: () => {},
      fetch: async () => {
        requests += 1;
        const runners = [{ runner: "bob", ...answer }];
        return { ok: true, json: async () => ({ race: "half", time: NOW, runners }) };
      },
    });
    for (let second = 0; ; second++) {
      arrivals.at("half", "15000", ["bob"], 1000 * second);
      await new Promise(setImmediate);
      if (requests === 2) return second - 1;
    }
  };
  const passes = (minutes) => [{ status: "expected", at: NOW + minutes * MINUTE }];
  assert.equal(await waits({ passes: passes(1) }), 20);
  assert.equal(await waits({ passes: passes(5) }), 60);
  assert.equal(await waits({ passes: passes(60) }), 180);
  assert.equal(await waits({ passes: [{ status: "passed", at: NOW }] }), 600);
  assert.equal(await waits({ passes: [{ status: "passed", at: NOW }, ...passes(60)] }), 180);
  assert.equal(await waits({ passes: passes(60), probable: { progress: 1 } }), 60);
});

test("arrivals of more runners than the limit are requested in parts", async () => {
  const requested = [];
  const arrivals = new Arrivals({
    url: "/races/SLUG/eta.json",
    headers: {},
    onChange: () => {},
    fetch: async (url) => {
      const codes = new URL(url, "http://x").searchParams.get("runners").split(",");
      requested.push(codes.length);
      // Runners who are requested last arrive first.
      const runners = codes.map((runner) => ({ runner, passes: [{ at: NOW - Number(runner) }] }));
      return { ok: true, json: async () => ({ runners }) };
    },
  });
  const codes = Array.from({ length: 150 }, (_, n) => String(1000 + n));
  arrivals.at("half", "15000", codes, 0);
  await new Promise((resolve) => setTimeout(resolve));
  const found = arrivals.at("half", "15000", codes, 1);
  assert.deepEqual(requested, [100, 50]);
  assert.deepEqual([found.length, found[0].code], [150, "1149"]);
});

test("the status of a phone is shown only if there is a problem", () => {
  const phone = (battery, accuracy, age = 0, more = {}) =>
    phoneWords(runner("bob", 1, { battery, accuracy, fix: { t: NOW - age }, ...more }), NOW);
  assert.equal(phone(80, 6), "");
  assert.equal(phone(null, null), "");
  assert.equal(phone(14.4, 6), "Battery low: 14 %");
  assert.equal(phone(14, 6, 5 * MINUTE), "Battery was low: 14 %");
  assert.equal(phone(80, 62), "Accurate to 62 m");
  assert.equal(phone(14, 6, 0, { state: "finished" }), "");
});
