// The JavaScript package for clients, clients/javascript.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Publisher } from "../../clients/javascript/index.js";

test("a fix that JSON cannot encode is an error of its caller and is not queued", () => {
  const publisher = new Publisher("ws://localhost/", "token");
  assert.throws(() => publisher.add({ t: 1n, lat: 48, lng: 11 }), TypeError);
  assert.deepEqual(publisher.pending, []);
});
