import assert from "node:assert/strict";
import { test } from "node:test";

import { itemOf, Picture } from "../../static/js/offline/picture.js";
import { Store } from "../../static/js/store.js";

Object.defineProperty(globalThis, "navigator", { value: { serviceWorker: { controller: {} } } });

const wait = () => new Promise(setImmediate);

/** A picture of a race with Ann, who has a phone, and Bob, with a storage that is watched. */
function makePicture() {
  const kept = new Map();
  const storage = { puts: [], deleted: [], blocked: null, error: null };
  globalThis.fetch = async () => new Response(JSON.stringify({ races: [{ slug: "ten" }], runners: [] }));
  globalThis.caches = {
    delete: async (name) => storage.deleted.push(name),
    open: async () => ({
      put: async (key, response) => {
        await storage.blocked;
        if (storage.error) throw storage.error;
        kept.set(key, await response.json());
        storage.puts.push(kept.get(key).runners.map(({ code }) => code));
      },
      delete: async (key) => kept.delete(key),
      match: async (key) => kept.has(key) ? new Response(JSON.stringify(kept.get(key))) : undefined,
    }),
  };
  const store = new Store();
  const estimate = { t: 1, checkpoint: 3, nodes: [[0, 10, 0, 20]] };
  store.applySnapshot({ runners: [
    { code: "ann", race: "ten", fix: [1, 48, 11, null, null, 5] },
    { code: "bob", race: "ten", fix: null, estimate },
  ] });
  const picture = new Picture({ first: "/live.json?race=ten", map: null, runners: () => store.runners.values(), time: () => 5 });
  const receive = async (event) => {
    store.applyEvent(event);
    await picture.receive(event);
  };
  return { picture, receive, store, storage, read: () => kept.get("/live.json?race=ten") };
}

test("a runner without a phone is in the picture with the estimate", async () => {
  const { picture, read, store } = makePicture();
  await picture.keep();
  const again = new Store();
  again.applySnapshot(read());
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
  assert.deepEqual(storage.puts, [["ann", ...codes]]);
  assert.equal(read().time, 5);
});

test("a changed runner waits for the next picture, one who hides does not", async () => {
  const { picture, receive, storage } = makePicture();
  await picture.keep();
  await receive({ kind: "runner", change: "changed", runner: { code: "ann", name: "Anna" } });
  await receive({ kind: "runner", change: "changed", runner: { code: "bob", fix: null } });
  assert.equal(storage.puts.length, 1);
  assert.deepEqual(storage.deleted, []);
  await receive({ kind: "runner", change: "changed", runner: { code: "ann", fix: null } });
  assert.deepEqual(storage.deleted, ["spectate-replay"]);
  assert.equal(storage.puts.length, 2);
  await receive({ kind: "runner", change: "removed", runner: "ann" });
  await receive({ kind: "access", reason: "private", runner: "bob" });
  assert.deepEqual(storage.puts.slice(2), [["bob"], []]);
});

test("runners who hide while a picture is written cause one more", async () => {
  const { picture, receive, storage } = makePicture();
  let open;
  storage.blocked = new Promise((resolve) => (open = resolve));
  const keeping = picture.keep();
  await wait();
  for (const runner of ["ann", "bob"]) receive({ kind: "access", reason: "private", runner });
  open();
  await keeping;
  assert.deepEqual(storage.puts, [["ann", "bob"], []]);
});

test("a full storage keeps no outdated picture, and the next one may fit", async () => {
  const { picture, read, storage } = makePicture();
  await picture.keep();
  storage.error = new Error("QuotaExceededError");
  await picture.keep();
  assert.equal(read(), undefined);
  storage.error = null;
  await picture.keep();
  assert.equal(read().runners.length, 2);
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
  assert.equal(read(), undefined);
});
