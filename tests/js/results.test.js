import assert from "node:assert/strict";
import { test } from "node:test";

import { Results } from "../../static/js/results.js";

const finisher = (code, race = "ten") => ({ code, race, state: "finished" });

function resultsOf(rows, requests) {
  return new Promise((resolve) => {
    const results = new Results({
      url: "/races/SLUG/standings.json",
      headers: {},
      onChange: () => resolve(results),
      fetch: async (url) => {
        requests.push(decodeURIComponent(url));
        return { ok: true, json: async () => ({ standings: rows }) };
      },
    });
    results.refresh([finisher("bob"), finisher("eve"), { code: "dan", race: "ten", state: "started" }], 0);
  });
}

test("one request names all finishers of a race, and nobody else", async () => {
  const requests = [];
  const results = await resultsOf([{ runner: "bob", rank: 1, gun_time: 7000 }], requests);
  assert.deepEqual(requests, ["/races/ten/standings.json?runners=bob,eve"]);
  assert.equal(results.of(finisher("bob")).rank, 1);
  assert.equal(results.of(finisher("eve")), null);
  assert.equal(results.of({ ...finisher("bob"), state: "started" }), null);
});

test("results are requested again after a minute", async () => {
  const requests = [];
  const results = await resultsOf([], requests);
  results.refresh([finisher("bob"), finisher("eve")], 59_999);
  assert.equal(requests.length, 1);
  results.refresh([finisher("bob"), finisher("eve")], 60_000);
  assert.equal(requests.length, 2);
});
