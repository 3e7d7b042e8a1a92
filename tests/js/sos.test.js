// A call for help: its message, states and texts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { facts } from "../../static/js/admin/sos.js";
import { answered, message, words } from "../../static/js/phone/sos.js";

const CALL = {
  runner: "bob", id: "a-1", time: Date.UTC(2026, 5, 1, 8, 0), fix: null, battery: 43,
  fine: false, reached: null, seen: null, closed: false,
};
const FIX = { t: CALL.time, lat: 53.35, lng: -6.33 };

test("a call without a position is sent", () => {
  assert.deepEqual(message(CALL), { type: "sos", id: "a-1", time: CALL.time, battery: 43 });
  assert.deepEqual(message({ ...CALL, fix: FIX, battery: null, fine: true }), {
    type: "sos", id: "a-1", time: CALL.time, fix: FIX, fine: true,
  });
});

test("a call stays open until the server replies that it is closed", () => {
  const stored = answered(CALL, { open: true, seen: null }, 5);
  assert.equal(stored?.reached, 5);
  const seen = answered(stored ?? CALL, { open: true, seen: 7 }, 9);
  assert.deepEqual([seen?.reached, seen?.seen, seen?.closed], [5, 7, false]);
  assert.equal(answered(seen ?? CALL, { open: false, seen: 7 }, 9)?.closed, true);
});

test("taking back waits for its reply", () => {
  const fine = { ...CALL, fine: true };
  assert.equal(answered(fine, { open: true, seen: null }, 5), fine);
  assert.equal(answered(fine, { open: false, seen: null }, 5), null);
});

test("the runner sees the state of the call", () => {
  assert.match(words(CALL), /not sent yet.*has found no position/);
  assert.match(words({ ...CALL, reached: 5, fix: FIX }), /are notified\. Your position is sent with it/);
  assert.match(words({ ...CALL, reached: 5, seen: 6 }), /saw your call/);
  assert.match(words({ ...CALL, closed: true }), /has closed/);
});

test("the desk shows position, time and battery in one line", () => {
  const sos = {
    id: 1, bib: "17", name: "Bob", runner: 3, called: CALL.time, received: CALL.time + 1000,
    lat: 53.35, lng: -6.33, accuracy: 8.4, placed: CALL.time, battery: 43.2, seen: null, seen_by: "",
  };
  assert.match(
    facts(sos, CALL.time + 125_000),
    /^Called 2 min ago, at \d\d:\d\d:\d\d · place of 2 min ago, ± 8 m · battery 43 %$/,
  );
  const late = { ...sos, placed: null, battery: null, received: CALL.time + 3_600_000 };
  assert.match(facts(late, CALL.time + 3_600_000), /reached us at .* · no place · battery unknown$/);
});
