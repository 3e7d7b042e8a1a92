// The initial state of the bell's dialog.

import assert from "node:assert/strict";
import { test } from "node:test";
import { atFirst } from "../../static/js/notify/bell.js";

const NOTHING = { push: {}, mail: {} };
const CAN = { canPush: true, canMail: true };

test("the usual kinds are preselected if nothing was chosen, for one channel", () => {
  const first = atFirst(["bob"], NOTHING, CAN);
  assert.deepEqual(first.kinds, ["start", "checkpoint", "finish", "silence"]);
  assert.deepEqual([first.push, first.mail, first.isTold], [true, false, false]);
  const blocked = atFirst(["bob"], NOTHING, { canPush: false, canMail: true });
  assert.deepEqual([blocked.push, blocked.mail], [false, true]);
});

test("the choice for one runner is preselected for several", () => {
  const chosen = { push: { anna: ["sos"] }, mail: { bob: ["finish", "start"] } };
  const first = atFirst(["bob", "cara"], chosen, CAN);
  assert.deepEqual(first.kinds, ["finish", "start"]);
  assert.deepEqual([first.push, first.mail, first.isTold], [false, true, true]);
});
