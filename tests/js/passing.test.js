import assert from "node:assert/strict";
import { test } from "node:test";

import { passedAt } from "../../static/js/passing.js";

const point = { id: 3, name: "10 km", kind: "split", distance: 10_000, lat: null, lng: null };
const eta = "/races/half/eta.json";

/** Ask where the server gives these answers, by the last part of the path. */
function ask(answers, code) {
  const fetch = async (url) => {
    const answer = answers[new URL(url, "http://x").pathname.split("/").at(-1)];
    return { ok: answer !== undefined, status: 404, json: async () => answer };
  };
  return passedAt({ eta, headers: {}, point, code, fetch });
}

test("a runner's own pass counts, and on laps the one at that distance", async () => {
  const pass = (distance, at, status = "passed") => ({ distance, at, status });
  const of = (...passes) => ({ "eta.json": { runners: [{ runner: "bob", passes }] } });
  assert.deepEqual(await ask(of(pass(5000, 1), pass(10_000.4, 2)), "bob"), { code: "bob", at: 2 });
  assert.equal(await ask(of(pass(10_000, 3, "expected")), "bob"), null);
});

test("without a runner it is whoever leads", async () => {
  const splits = [{ distance: 5000, at: 1 }, { distance: 10_000, at: 2 }];
  const answers = { "standings.json": { standings: [{ runner: "ann", splits }] } };
  assert.deepEqual(await ask(answers, null), { code: "ann", at: 2 });
  assert.equal(await ask({ "standings.json": { standings: [] } }, null), null);
});

test("a server that does not say knows of nobody", async () => {
  assert.equal(await ask({}, "bob"), null);
});
