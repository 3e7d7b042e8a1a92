import assert from "node:assert/strict";
import { test } from "node:test";

import { starring } from "../../static/js/cycle.js";
import { Finishers } from "../../static/js/ticker.js";

const runner = (code, progress) => ({ code, fix: { progress } });

test("a big screen shows followed runners and the leaders, each once", () => {
  const runners = [
    runner("ann", 10), runner("bob", 500), runner("cat", 400), runner("dan", 300),
    runner("eve", 900), runner("fay", null),
  ];
  const isFollowed = (code) => code === "bob" || code === "ann";
  const isLive = ({ code }) => code !== "eve";
  assert.deepEqual(starring(runners, isFollowed, isLive), ["ann", "bob", "cat", "dan"]);
});

/** A screen whose server ranks by time and answers as standings.json does. */
function makeScreen(rows) {
  const screen = { rows, finished: rows.map(({ runner }) => runner), requests: [] };
  const finishers = new Finishers({
    url: "/s", headers: {}, finished: () => screen.finished,
    fetch: async (url) => {
      const query = new URLSearchParams(url.split("?")[1]);
      screen.requests.push(url);
      const named = query.get("runners")?.split(",");
      const from = Number(query.get("from") ?? 1) - 1;
      const ranked = screen.rows.toSorted((a, b) => (a.gun_time ?? Infinity) - (b.gun_time ?? Infinity));
      const standings = named
        ? ranked.filter(({ runner }) => named.includes(runner))
        : ranked.slice(from, from + Number(query.get("rows") ?? 100));
      return { ok: true, json: async () => ({ standings, states: { finished: rows.length } }) };
    },
  });
  return { screen, latest: async () => (await finishers.latest()).map(({ runner }) => runner) };
}

const finished = (runner, at, gun_time) => ({
  runner, name: runner, bib: "", rank: 1, status: "finished", gun_time, last: { at },
});

test("the ticker has the newest finishers first, whatever their ranks among many", async () => {
  // A first wave, and three runners of a later one who are faster than all of it.
  const rows = Array.from({ length: 900 }, (_, n) => finished(`r${n}`, 1000 + n, 5000 + n));
  rows.push(finished("ann", 3000, 30), finished("bob", 3001, 20), finished("cat", 3002, 10));
  const { screen, latest } = makeScreen(rows);
  assert.deepEqual(await latest(), ["cat", "bob", "ann", "r899", "r898"]);
  // New finishers are requested by name, with those who are shown.
  screen.rows.push(finished("dan", 3003, 9000));
  screen.finished = [...screen.finished, "dan"];
  screen.requests.length = 0;
  assert.deepEqual(await latest(), ["dan", "cat", "bob", "ann", "r899"]);
  assert.deepEqual(screen.requests.map(decodeURIComponent), ["/s?runners=cat,bob,ann,r899,r898,dan"]);
});

test("the ticker shows nobody who hides or has no time", async () => {
  const rows = [finished("ann", 1, 1), finished("bob", 2, 2), { ...finished("dan", 3, 3), gun_time: null }];
  const { screen, latest } = makeScreen(rows);
  assert.deepEqual(await latest(), ["bob", "ann"]);
  screen.finished = ["ann", "dan"];
  assert.deepEqual(await latest(), ["ann"]);
  rows[0].status = "dsq";
  assert.deepEqual(await latest(), []);
});
