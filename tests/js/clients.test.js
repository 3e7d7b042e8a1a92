import { test } from "node:test";
import assert from "node:assert/strict";

import { waitAfter } from "../../docs/clients/client.js";

const least = () => 0;
const most = () => 1;

test("A client that the server does not want as it is stays away", () => {
  for (const code of [4400, 4401, 4403]) assert.equal(waitAfter(code, 0), null);
});

test("After other closes it waits a random part of 1 s, 2 s, 4 s … 30 s", () => {
  for (const code of [1006, 1011, 1012, 4408]) {
    assert.equal(waitAfter(code, 0, null, least), 0);
    assert.equal(waitAfter(code, 0, null, most), 1000);
    assert.equal(waitAfter(code, 2, null, most), 4000);
    assert.equal(waitAfter(code, 20, null, most), 30_000);
  }
});

test("A server with too much to do is left alone for longer", () => {
  for (const code of [1013, 4413, 4429]) {
    assert.equal(waitAfter(code, 0, null, most), 16_000);
  }
});

test("It comes back when the server said", () => {
  assert.equal(waitAfter(1012, 3, 7500), 7500);
});
