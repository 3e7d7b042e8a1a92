import assert from "node:assert/strict";
import { test } from "node:test";

import { passedAt } from "../../static/js/passing.js";

const point = { id: 3, name: "10 km", kind: "split", distance: 10_000, lat: null, lng: null };
const eta = "/races/half/eta.json";

/** Request a pass from a server with these responses by last part of the path. */
function request(answers, code) {
  const fetch = async (url) => {
    const answer = answers[new URL(url, "http://x").pathname.split("/").at(-1)];
    return { ok: answer !== undefined, status: 404, json: async () => answer };
  };
  return passedAt({ eta, headers: {}, point, code, fetch });
}

test("a runner's pass is used, and on laps the one at that distance", async () => {
  const pass = (distance, at, status = "passed") => ({ distance, at, status });
  const of = (...passes) => ({ "eta.json": { runners: [{ runner: "bob", passes }] } });
  assert.deepEqual(await request(of(pass(5000, 1), pass(10_000.4, 2)), "bob"), { code: "bob", at: 2 });
  assert.equal(await request(of(pass(10_000, 3, "expected")), "bob"), null);
});

test("without a runner it is the leader's pass", async () => {
  const splits = [{ distance: 5000, at: 1 }, { distance: 10_000, at: 2 }];
  const answers = { "standings.json": { standings: [{ runner: "ann", splits }] } };
  assert.deepEqual(await request(answers, null), { code: "ann", at: 2 });
  assert.equal(await request({ "standings.json": { standings: [] } }, null), null);
});

test("an error of the server means no pass", async () => {
  assert.equal(await request({}, "bob"), null);
});
