import assert from "node:assert/strict";
import { test } from "node:test";

import { distinguish } from "../../static/js/colours.js";

const PALETTE = ["#000001", "#000002", "#000003"];

function colours(...given) {
  const runners = given.map((colour, n) => ({ code: `r${n}`, colour }));
  distinguish(runners, PALETTE);
  return runners.map(({ colour }) => colour);
}

test("followed runners have different colours, and the first keeps its own", () => {
  assert.deepEqual(colours("#000002", "#000002", "#000003"), ["#000002", "#000001", "#000003"]);
});

test("different colours stay as they are", () => {
  assert.deepEqual(colours("#abcdef", "#000001"), ["#abcdef", "#000001"]);
});

test("more runners than colours share some", () => {
  assert.equal(new Set(colours(...Array(5).fill("#000001"))).size, 3);
});
