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

test("many finishers are requested with the whole field, in parts", async () => {
  const requests = [];
  const runners = Array.from({ length: 2500 }, (_, n) => finisher(`r${n}`));
  const results = await new Promise((resolve) => {
    const made = new Results({
      url: "/races/SLUG/standings.json", headers: {}, onChange: () => resolve(made),
      fetch: async (url) => {
        requests.push(url);
        const from = Number(new URLSearchParams(url.split("?")[1]).get("from")) - 1;
        const part = runners.slice(from, from + 2000);
        const standings = part.map(({ code }, n) => ({ runner: code, rank: from + n + 1 }));
        return { ok: true, json: async () => ({ standings }) };
      },
    });
    made.refresh(runners, 0);
  });
  assert.deepEqual(requests, [1, 2001].map(
    (from) => `/races/ten/standings.json?rows=2000&brief=1&from=${from}`,
  ));
  assert.equal(results.of(finisher("r2499")).rank, 2500);
});
