// The bell's dialog: what its boxes say at first.

import assert from "node:assert/strict";
import { test } from "node:test";
import { atFirst } from "../../static/js/notify/bell.js";

const NOTHING = { push: {}, mail: {} };
const CAN = { canPush: true, canMail: true };

test("the usual kinds are offered where nothing was chosen yet, in one place", () => {
  const first = atFirst(["bob"], NOTHING, CAN);
  assert.deepEqual(first.kinds, ["start", "checkpoint", "finish", "silence"]);
  assert.deepEqual([first.push, first.mail, first.isTold], [true, false, false]);
  const blocked = atFirst(["bob"], NOTHING, { canPush: false, canMail: true });
  assert.deepEqual([blocked.push, blocked.mail], [false, true]);
});

test("what was chosen for one of them stands, also where others are told nothing", () => {
  const told = { push: { anna: ["sos"] }, mail: { bob: ["finish", "start"] } };
  const first = atFirst(["bob", "cara"], told, CAN);
  assert.deepEqual(first.kinds, ["finish", "start"]);
  assert.deepEqual([first.push, first.mail, first.isTold], [false, true, true]);
});
