import assert from "node:assert/strict";
import { test } from "node:test";

import { Arrivals } from "../../static/js/arrivals.js";

/** Arrivals from a server that knows each runner's pass; `requested` lists the runners. */
function server(passes) {
  const requested = [];
  const fetch = async (url) => {
    const codes = new URL(url, "http://x").searchParams.get("runners").split(",");
    requested.push(codes.join());
    const runners = codes.map((runner) => ({ runner, passes: [passes[runner]] }));
    return { ok: true, json: async () => ({ time: 0, runners }) };
  };
  const onChange = () => {};
  return { requested, arrivals: new Arrivals({ url: "/SLUG/eta", headers: {}, onChange, fetch }) };
}

const PASSES = {
  ann: { at: 3, status: "expected" }, bob: { at: 1, status: "expected" },
  cat: { at: 2, status: "expected" },
};
const answered = () => new Promise((resolve) => setTimeout(resolve));
const codesOf = (found) => found?.map(({ code }) => code) ?? null;

test("a place that is shown for different runners is requested once for each in 20 s", async () => {
  const { arrivals, requested } = server(PASSES);
  const look = (time) => [
    arrivals.at("half", "10000", ["ann", "bob"], time),
    arrivals.at("half", "10000", ["cat"], time),
    arrivals.at("half", "10000", ["ann", "bob", "cat"], time),
  ].map(codesOf);
  assert.deepEqual(look(0), [null, null, null]);
  await answered();
  for (let time = 100; time <= 20_000; time += 100) {
    assert.deepEqual(look(time), [["bob", "ann"], ["cat"], ["bob", "cat", "ann"]]);
  }
  assert.deepEqual(requested, ["ann,bob", "cat"]);
  look(20_001);
  assert.deepEqual(requested.slice(2), ["ann,bob", "cat"]);
});

test("a runner who joins is requested, and the others keep their arrivals", async () => {
  const { arrivals, requested } = server(PASSES);
  arrivals.at("half", "10000", ["ann"], 0);
  await answered();
  assert.deepEqual(codesOf(arrivals.at("half", "10000", ["ann", "cat"], 5000)), ["ann"]);
  await answered();
  assert.deepEqual(codesOf(arrivals.at("half", "10000", ["ann", "cat"], 6000)), ["cat", "ann"]);
  assert.deepEqual(requested, ["ann", "cat"]);
});

test("runners whom the server refuses have no arrivals", async () => {
  const { arrivals } = server({ ann: { at: 3 } });
  arrivals.at("half", "10000", ["ann"], 0);
  await answered();
  assert.equal(arrivals.at("half", "5000", ["bob"], 0), null);
});
