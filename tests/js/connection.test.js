import assert from "node:assert/strict";
import { test } from "node:test";

import { backoff } from "../../static/js/connection.js";
import { followMessage, parseFrame } from "../../static/js/protocol.js";

test("delays are random, from 1 s to at most 30 s", () => {
  assert.equal(backoff(1, () => 0), 1000);
  assert.equal(backoff(3, () => 0), 1000);
  assert.equal(backoff(3, () => 1), 8000);
  assert.equal(backoff(99, () => 1), 30_000);
});

test("a follow has runners only if there are any", () => {
  const everybody = { public: true, tick: 1000 };
  assert.deepEqual(followMessage(everybody, [], null), { type: "follow", public: true, tick: 1000 });
  assert.deepEqual(followMessage(everybody, ["bob", "bob"], 7), {
    type: "follow",
    public: true,
    tick: 1000,
    runners: ["bob"],
    since: 7,
  });
});

test("unknown frames are ignored", () => {
  assert.equal(parseFrame("no JSON"), null);
  assert.equal(parseFrame("[]"), null);
  assert.equal(parseFrame(new ArrayBuffer(1)), null);
  assert.deepEqual(parseFrame('{"type":"pong"}'), { type: "pong" });
});
