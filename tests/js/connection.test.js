import assert from "node:assert/strict";
import { test } from "node:test";

import { backoff } from "../../static/js/connection.js";
import { followMessage, parseFrame } from "../../static/js/protocol.js";

test("waits have full jitter from 1 s up to 30 s", () => {
  assert.equal(backoff(1, () => 0), 1000);
  assert.equal(backoff(3, () => 0), 1000);
  assert.equal(backoff(3, () => 1), 8000);
  assert.equal(backoff(99, () => 1), 30_000);
});

test("a follow names runners only where there are some", () => {
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

test("what is no message of ours is passed over", () => {
  assert.equal(parseFrame("no JSON"), null);
  assert.equal(parseFrame("[]"), null);
  assert.equal(parseFrame(new ArrayBuffer(1)), null);
  assert.deepEqual(parseFrame('{"type":"pong"}'), { type: "pong" });
});
