import assert from "node:assert/strict";
import { test } from "node:test";

import { starring } from "../../static/js/cycle.js";

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
