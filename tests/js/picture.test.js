import assert from "node:assert/strict";
import { test } from "node:test";

import { itemOf, Picture } from "../../static/js/offline/picture.js";
import { Store } from "../../static/js/store.js";

Object.defineProperty(globalThis, "navigator", { value: { serviceWorker: { controller: {} } } });
globalThis.location = { origin: "https://run.test", href: "https://run.test/static/js/offline/worker.js" };
globalThis.skipWaiting = () => {};

/** @type {Record<string, Function>} of the service worker */
const listeners = {};
globalThis.addEventListener = (kind, listener) => (listeners[kind] = listener);
await import("../../static/js/offline/worker.js");

const FIRST = "/live.json?race=ten";
const wait = () => new Promise(setImmediate);

/** Entries in the order in which they were put, as in a browser. */
class FakeCache {
  /** @type {Map<string, Response>} */
  entries = new Map();

  constructor(storage) {
    this.storage = storage;
  }

  async put(key, response) {
    await this.storage.blocked;
    if (this.storage.error) throw this.storage.error;
    this.entries.delete(key);
    this.entries.set(key, response);
    this.storage.puts.push(key);
  }

  delete = async (key) => this.entries.delete(key);
  keys = async () => [...this.entries.keys()];
  match = async (key) => this.entries.get(key)?.clone();
}

/** A deleted cache stays usable by those who have it open, but cannot be opened again. */
class FakeCaches {
  /** @type {Map<string, FakeCache>} */
  named = new Map();
  puts = [];
  blocked = null;
  error = null;

  async open(name) {
    if (!this.named.has(name)) this.named.set(name, new FakeCache(this));
    return this.named.get(name);
  }

  delete = async (name) => this.named.delete(name);
  keys = () => [...this.named.values()].flatMap(({ entries }) => [...entries.keys()]);
  find = (key) => [...this.named.values()].find(({ entries }) => entries.has(key))?.match(key);
}

/** A picture of a race with Ann, who has a phone, and Bob, with a storage that is watched. */
function makePicture() {
  const storage = (globalThis.caches = new FakeCaches());
  globalThis.fetch = async () => new Response(JSON.stringify({ races: [{ slug: "ten" }], runners: [] }));
  const store = new Store();
  const estimate = { t: 1, checkpoint: 3, nodes: [[0, 10, 0, 20]] };
  store.applySnapshot({ runners: [
    { code: "ann", race: "ten", fix: [1, 48, 11, null, null, 5] },
    { code: "bob", race: "ten", fix: null, estimate },
  ] });
  const picture = new Picture({ first: FIRST, runners: () => store.runners.values(), time: () => 5 });
  const receive = async (event) => {
    store.applyEvent(event);
    await picture.receive(event);
  };
  const read = async () => (await storage.find(FIRST))?.json();
  return { picture, receive, store, storage, read };
}

test("a runner without a phone is in the picture with the estimate", async () => {
  const { picture, read, store } = makePicture();
  await picture.keep();
  const again = new Store();
  again.applySnapshot(await read());
  assert.deepEqual(again.runners.get("bob").estimate, store.runners.get("bob").estimate);
  assert.equal(itemOf(store.runners.get("ann")).estimate, null);
});

test("a field is written in parts, and anew if somebody hides meanwhile", async () => {
  const { picture, receive, store, storage, read } = makePicture();
  const codes = Array.from({ length: 2_500 }, (_, n) => `r${n}`);
  store.applySnapshot({ runners: codes.map((code) => ({ code, race: "ten", fix: null })) });
  const keeping = picture.keep();
  await new Promise(setImmediate);
  await receive({ kind: "access", reason: "private", runner: "bob" });
  await keeping;
  assert.equal(storage.puts.length, 1);
  const { runners, time } = await read();
  assert.deepEqual(runners.map(({ code }) => code), ["ann", ...codes]);
  assert.equal(time, 5);
});

test("a changed runner waits for the next picture, one who hides does not", async () => {
  const { picture, receive, storage, read } = makePicture();
  const codes = async () => (await read()).runners.map(({ code }) => code);
  await picture.keep();
  const kept = await storage.open("spectate-picture");
  const others = ["/live.json?race=relay", "/races/relay/replay.json?from=0"];
  for (const key of others) await kept.put(key, new Response());
  await receive({ kind: "runner", change: "changed", runner: { code: "ann", name: "Anna" } });
  await receive({ kind: "runner", change: "changed", runner: { code: "bob", fix: null } });
  assert.deepEqual(storage.keys(), [FIRST, ...others]);
  await receive({ kind: "runner", change: "changed", runner: { code: "ann", fix: null } });
  // Whoever hides may be in what other pages have shown.
  assert.deepEqual(storage.keys(), [FIRST]);
  assert.deepEqual(await codes(), ["ann", "bob"]);
  await receive({ kind: "runner", change: "removed", runner: "ann" });
  assert.deepEqual(await codes(), ["bob"]);
  await receive({ kind: "access", reason: "private", runner: "bob" });
  assert.deepEqual(await codes(), []);
});

test("runners who hide while a picture is written cause one more", async () => {
  const { picture, receive, storage, read } = makePicture();
  let open;
  storage.blocked = new Promise((resolve) => (open = resolve));
  const keeping = picture.keep();
  await wait();
  for (const runner of ["ann", "bob"]) receive({ kind: "access", reason: "private", runner });
  await wait();
  open();
  await keeping;
  assert.equal(storage.puts.length, 2);
  assert.deepEqual((await read()).runners, []);
});

test("a full storage keeps no outdated picture, and the next one may fit", async () => {
  const { picture, read, storage } = makePicture();
  await picture.keep();
  storage.error = new Error("QuotaExceededError");
  await picture.keep();
  assert.equal(await read(), undefined);
  storage.error = null;
  await picture.keep();
  assert.equal((await read()).runners.length, 2);
});

test("a picture that is being written when the access ends is deleted", async () => {
  const { picture, read, storage } = makePicture();
  let open;
  storage.blocked = new Promise((resolve) => (open = resolve));
  const keeping = picture.keep();
  await wait();
  await picture.forget();
  open();
  await keeping;
  await picture.keep();
  assert.equal(await read(), undefined);
});

/** An empty storage of the service worker, whose time is the test's. */
function makeStorage(t) {
  t.mock.timers.enable({ apis: ["Date", "setTimeout"] });
  return (globalThis.caches = new FakeCaches());
}

/**
 * Request an address of a client through the service worker.
 * @returns the end of what it does, and the answer
 */
function request(url, client = "/", init = {}) {
  globalThis.clients = { get: async () => ({ url: location.origin + client }) };
  globalThis.fetch = async () => new Response("{}", init);
  const works = [];
  let answer;
  listeners.fetch({
    request: new Request(location.origin + url), clientId: "1",
    respondWith: (response) => (answer = response), waitUntil: (work) => works.push(work),
  });
  return { done: answer.then(() => Promise.all(works)), answer };
}

const MARKED = { headers: { "Spectate-Offline": "1" } };
const CHUNK = "/races/ten/replay.json?from=";

test("tiles are kept for pages that are kept, and not for others", async (t) => {
  const storage = makeStorage(t);
  await request("/", "/", MARKED).done;
  await request("/races/ten/map/1/3/4/5.mvt", "/me/").done;
  assert.deepEqual(storage.keys(), ["/"]);
  await request("/races/ten/map/1/3/4/6.mvt").done;
  assert.deepEqual(storage.keys(), ["/", "/races/ten/map/1/3/4/6.mvt"]);
  // The page of an account.
  await request("/").done;
  await request("/races/ten/map/1/3/4/7.mvt").done;
  assert.deepEqual(storage.keys(), ["/races/ten/map/1/3/4/6.mvt"]);
});

test("what is older than six hours and the oldest replays are deleted", async (t) => {
  const storage = makeStorage(t);
  await request(`${CHUNK}0`, "/", MARKED).done;
  await request("/static/a.js").done;
  t.mock.timers.tick(5 * 3_600_000);
  for (let n = 1; n <= 36; n++) await request(`${CHUNK}${n}`, "/", MARKED).done;
  const kept = storage.keys();
  assert.equal(kept.length, 37);
  assert.ok(!kept.includes(`${CHUNK}0`) && kept.includes("/static/a.js"));
  t.mock.timers.tick(3_600_000);
  await request("/static/b.js").done;
  assert.equal(storage.keys().length, 37);
  assert.ok(!storage.keys().includes("/static/a.js"));
  t.mock.timers.tick(5 * 3_600_000);
  await request("/static/c.js").done;
  assert.deepEqual(storage.keys(), ["/static/b.js", "/static/c.js"]);
});

test("a replay that was requested before somebody hid is not kept", async (t) => {
  const storage = makeStorage(t);
  const { done, answer } = request(`${CHUNK}0`, "/", MARKED);
  await storage.delete("spectate-picture");
  assert.equal(await (await answer).text(), "{}");
  await done;
  assert.deepEqual(storage.keys(), []);
});
