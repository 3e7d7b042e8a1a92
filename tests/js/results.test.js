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

test("new finishers are gathered into one request per race in 20 s", async () => {
  const times = [];
  let time = 0;
  const results = new Results({
    url: "/races/SLUG/standings.json", headers: {}, onChange: () => {}, random: () => 0,
    fetch: async (url) => {
      times.push(time);
      const named = new URLSearchParams(url.split("?")[1]).get("runners");
      const codes = named?.split(",") ?? runners.map(({ code }) => code);
      const standings = codes.map((code) => ({ runner: code, rank: 1, status: "finished" }));
      return { ok: true, json: async () => ({ standings }) };
    },
  });
  const runners = [];
  // One finisher per second.
  for (; time <= 130_000; time += 1000) {
    runners.push(finisher(`r${time / 1000}`));
    results.refresh(runners, time);
    await new Promise(setImmediate);
  }
  // Everybody is requested again after a minute.
  assert.deepEqual(times, [0, 20, 40, 60, 80, 100, 120].map((seconds) => 1000 * seconds));
  assert.equal(results.of(finisher("r119")).rank, 1);
});

test("the first finisher is requested 10 to 20 s later, by each page at its own time", async () => {
  for (const [random, wait] of [[0, 10_000], [0.5, 15_000]]) {
    const requests = [];
    const results = new Results({
      url: "/SLUG", headers: {}, onChange: () => {}, random: () => random,
      fetch: async (url) => {
        requests.push(url);
        return { ok: true, json: async () => ({ standings: [] }) };
      },
    });
    // The page was opened before anybody had finished.
    for (const time of [0, 90_000]) results.refresh([{ ...finisher("eve"), state: "started" }], time);
    for (const time of [91_000, 91_000 + wait - 1]) results.refresh([finisher("eve")], time);
    assert.deepEqual(requests, []);
    results.refresh([finisher("eve")], 91_000 + wait);
    assert.deepEqual(requests, ["/ten?runners=eve"]);
  }
});

test("a whole field's answer has the results of later finishers too", async () => {
  const field = Array.from({ length: 40 }, (_, n) => finisher(`r${n}`));
  let count = 0;
  const results = new Results({
    url: "/SLUG", headers: {}, onChange: () => {}, random: () => 0,
    fetch: async () => {
      count += 1;
      const standings = field.map(({ code }, n) => (
        { runner: code, rank: n + 1, status: n < 35 ? "finished" : "started" }
      ));
      return { ok: true, json: async () => ({ standings }) };
    },
  });
  results.refresh(field.slice(0, 30), 0);
  await new Promise(setImmediate);
  for (const time of [1000, 20_000, 40_000]) results.refresh(field.slice(0, 35), time);
  assert.equal(count, 1);
  assert.equal(results.of(field[34]).rank, 35);
  assert.equal(results.of(field[35]), null);
});
