import assert from "node:assert/strict";
import { test } from "node:test";

import { starring } from "../../static/js/cycle.js";
import { latestFinishers } from "../../static/js/ticker.js";

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

test("the ticker has the newest finishers first, whatever their rank", () => {
  const row = (name, at, more = {}) => ({
    name, rank: 1, bib: "", state: "finished", gun_time: 1, last: { at }, ...more,
  });
  const rows = [row("a", 10), row("b", 30), row("c", 20), row("d", 40, { state: "started" })];
  assert.deepEqual(latestFinishers(rows).map(({ name }) => name), ["b", "c", "a"]);
  assert.equal(latestFinishers(Array.from({ length: 9 }, (_, n) => row(`${n}`, n))).length, 5);
});
