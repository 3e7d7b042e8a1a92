import { test } from "node:test";
import assert from "node:assert/strict";

import { waitAfter } from "../../docs/clients/client.js";

const least = () => 0;
const most = () => 1;

test("a client does not reconnect after a final close code", () => {
  for (const code of [4400, 4401, 4403]) assert.equal(waitAfter(code, 0), null);
});

test("after other closes a client waits a random part of 1 s, 2 s, 4 s … 30 s", () => {
  for (const code of [1006, 1011, 1012, 4408]) {
    assert.equal(waitAfter(code, 0, null, least), 0);
    assert.equal(waitAfter(code, 0, null, most), 1000);
    assert.equal(waitAfter(code, 2, null, most), 4000);
    assert.equal(waitAfter(code, 20, null, most), 30_000);
  }
});

test("after an overload a client waits longer", () => {
  for (const code of [1013, 4413, 4429]) {
    assert.equal(waitAfter(code, 0, null, most), 16_000);
  }
});

test("a client reconnects at the time that the server requested", () => {
  assert.equal(waitAfter(1012, 3, 7500), 7500);
});
