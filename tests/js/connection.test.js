import assert from "node:assert/strict";
import { test } from "node:test";

import { backoff, Connection } from "../../static/js/connection.js";
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

class FakeSocket {
  static OPEN = 1;
  readyState = 1;
  sent = [];

  constructor() {
    FakeSocket.latest = this;
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  deliver(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }
}

/** Open a connection of a page; return its socket and the states that it reports. */
function openConnection(t, visibilityState) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  globalThis.WebSocket = FakeSocket;
  globalThis.addEventListener = () => {};
  globalThis.document = { visibilityState, addEventListener: () => {} };
  const states = [];
  const onStatus = ({ state }) => states.push(state);
  new Connection("ws://x", { onOpen() {}, onMessage() {}, onStatus }).open();
  FakeSocket.latest.deliver({ type: "welcome", heartbeat: 20 });
  FakeSocket.latest.deliver({ type: "snapshot" });
  return { socket: FakeSocket.latest, states };
}

test("a visible page notices a silent server after 10 s", (t) => {
  const { socket, states } = openConnection(t, "visible");
  t.mock.timers.tick(5000);
  assert.deepEqual(socket.sent, [{ type: "ping" }]);
  t.mock.timers.tick(5000);
  assert.deepEqual(states, ["connecting", "open", "waiting"]);
});

test("a page stays connected while pings are answered", (t) => {
  const { socket, states } = openConnection(t, "visible");
  for (let k = 0; k < 10; k += 1) {
    t.mock.timers.tick(5000);
    socket.deliver({ type: "pong" });
  }
  assert.equal(socket.sent.length, 10);
  assert.deepEqual(states, ["connecting", "open"]);
});

test("a hidden page sends nothing and waits for heartbeats", (t) => {
  const { socket, states } = openConnection(t, "hidden");
  t.mock.timers.tick(49_000);
  assert.deepEqual([socket.sent, states], [[], ["connecting", "open"]]);
  t.mock.timers.tick(1001);
  assert.equal(states.at(-1), "waiting");
});
