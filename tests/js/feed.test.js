import assert from "node:assert/strict";
import { test } from "node:test";

import { Feed } from "../../static/js/feed.js";
import { Store } from "../../static/js/store.js";

class FakeSocket {
  static OPEN = 1;
  static all = [];
  readyState = 0;

  constructor() {
    FakeSocket.all.push(this);
  }

  send() {}

  open() {
    this.readyState = FakeSocket.OPEN;
    this.onopen();
  }

  deliver(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }
}

/** Return a page's feed, its store, and how to answer `/live.json` and to show the page. */
function openFeed(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  FakeSocket.all = [];
  const listeners = [];
  let answer;
  const first = new Promise((resolve) => (answer = resolve));
  Object.assign(globalThis, {
    WebSocket: FakeSocket,
    addEventListener: () => {},
    document: { visibilityState: "visible", addEventListener: (_, listen) => listeners.push(listen) },
    location: { protocol: "https:", host: "x" },
    fetch: () => first,
  });
  const store = new Store();
  const handlers = { codes: () => [], onChange() {}, onStatus() {} };
  const page = { first: "/live.json", socket: "/ws/", follow: { public: true, tick: 1000 } };
  const feed = new Feed(page, store, { saw() {} }, handlers);
  return {
    feed,
    store,
    answer: (snapshot) => answer(new Response(JSON.stringify(snapshot))),
    show: () => listeners.forEach((listen) => listen()),
  };
}

const snapshot = (time, codes) => ({
  type: "snapshot",
  time,
  runners: codes.map((code) => ({ code, name: code, fix: null, trail: "" })),
});
/** Until all promises that can be resolved are. */
const settled = () => new Promise(setImmediate);

test("a first snapshot that is never answered does not keep the websocket closed", async (t) => {
  const { feed } = openFeed(t);
  feed.open(Promise.resolve());
  await settled();
  assert.equal(FakeSocket.all.length, 0);
  t.mock.timers.tick(3000);
  await settled();
  assert.equal(FakeSocket.all.length, 1);
});

test("a page that is shown while it waits has one websocket", async (t) => {
  const { feed, show, answer } = openFeed(t);
  feed.open(Promise.resolve());
  show();
  answer(snapshot(1000, ["ann"]));
  await settled();
  t.mock.timers.tick(3000);
  await settled();
  assert.equal(FakeSocket.all.length, 1);
});

test("a runner who has hidden since a late first snapshot is removed", async (t) => {
  const { feed, store, answer } = openFeed(t);
  feed.open(Promise.resolve());
  t.mock.timers.tick(3000);
  await settled();
  FakeSocket.all[0].open();
  answer(snapshot(1000, ["ann", "bob"]));
  await settled();
  assert.deepEqual([...store.runners.keys()], ["ann", "bob"]);
  FakeSocket.all[0].deliver(snapshot(2000, ["ann"]));
  assert.deepEqual([...store.runners.keys()], ["ann"]);
});
