// Filters of the desk of race day, and its texts about refused points.

import assert from "node:assert/strict";
import { test } from "node:test";
import { appOf, belongs, disagreement, isRefused, long, refusal, signalOf, spotsOf } from "../../static/js/admin/desk.js";

const NOW = 1_780_000_000_000;
const MINUTE = 60_000;

/** @param {object} [more] */
function row(more = {}) {
  return {
    id: 1, bib: "17", name: "Bob", code: "bob", runner: 1, status: "started",
    fix: NOW - 5000, contact: NOW, battery: 80, accuracy: 6, source: "websocket",
    progress: 1000, state: "started", phones: 1, app: "", heard: null,
    refused: 0, reasons: {}, reason: "", refused_at: null,
    ...more,
  };
}

/** @param {object} more @param {string} show */
const shows = (more, show) => belongs(row(more), show, NOW, 2 * MINUTE);

test("a finisher whose phone is off is not lost", () => {
  const words = (/** @type {object} */ more) => signalOf(row(more), NOW).words;
  assert.equal(words({ fix: NOW - 60 * MINUTE, contact: null }), "◌ lost 60 min");
  assert.equal(words({ fix: NOW - 60 * MINUTE, status: "finished" }), "⚑ finished");
  assert.equal(words({ fix: NOW - 3 * MINUTE }), "○ stale 3 min, contact 0 s");
  assert.equal(words({ fix: null }), "– no fix yet");
  assert.equal(words({ fix: null, tested: true }), "– no fix yet, phone tested");
  assert.ok(shows({ tested: false }, "untested") && !shows({}, "untested"));
});

test("a phone without problems is not listed as trouble", () => {
  assert.ok(shows({}, "all"));
  assert.ok(shows({}, "publishing"));
  assert.ok(!shows({}, "trouble"));
});

test("silence is counted from the last fix", () => {
  assert.ok(shows({ fix: NOW - 2 * MINUTE }, "silent"));
  assert.ok(!shows({ fix: NOW - 2 * MINUTE + 1 }, "silent"));
  assert.ok(shows({ fix: null }, "never"));
  assert.ok(!shows({ fix: null }, "silent"));
});

test("a runner who is out or has finished is no trouble", () => {
  for (const status of ["dnf", "dns", "dsq", "finished"]) {
    assert.ok(!shows({ status, fix: null, battery: 2 }, "trouble"));
    assert.ok(shows({ status }, "out"));
  }
});

test("a phone that disagrees with the chip is trouble, also after the finish", () => {
  const disagrees = { checkpoint: "5 km", seconds: -1200 };
  assert.ok(shows({ disagrees, status: "finished" }, "trouble"));
  assert.ok(shows({ disagrees }, "disagrees") && !shows({}, "disagrees"));
  assert.equal(disagreement(row({ disagrees })), "phone 20 min before the chip at 5 km");
  const away = { checkpoint: "5 km", metres: 1230 };
  assert.equal(disagreement(row({ disagrees: away })), "phone 1.2 km away when the chip was at 5 km");
  assert.equal(disagreement(row()), "");
});

test("a simulated position is named", () => {
  assert.equal(appOf(row({ app: "Traccar Client 10", source: "osmand mock" })),
    "Traccar Client 10: simulated position");
  assert.equal(appOf(row({ app: "OsmAnd", source: "osmand" })), "OsmAnd");
  assert.equal(appOf(row({ source: null, phones: 0 })), "no phone");
});

test("each problem is listed as trouble", () => {
  for (const more of [
    { source: "osmand mock" }, { fix: null }, { battery: 19 }, { accuracy: 51 }, { state: "off_course" },
    { refused: 1, refused_at: NOW - MINUTE },
  ]) {
    assert.ok(shows(more, "trouble"), JSON.stringify(more));
  }
  assert.ok(!isRefused(row({ refused_at: NOW - 60 * MINUTE }), NOW, 2 * MINUTE));
});

test("refused points are shown with their reasons, the most frequent first", () => {
  const text = refusal(
    row({
      refused: 7, reasons: { "position.invalid": 1, "position.future": 6 },
      reason: "It is 2 h ahead.", refused_at: NOW - 4 * MINUTE,
    }),
    NOW,
  );

  assert.equal(
    text,
    "7 refused: 6 position.future, 1 position.invalid, last 4 min ago. It is 2 h ahead.",
  );
  assert.equal(refusal(row(), NOW), "");
});

test("a duration is one number", () => {
  assert.deepEqual(
    [5000, 119_999, 120_000, 7_200_000, 200_000_000].map(long),
    ["5 s", "119 s", "2 min", "2 h", "2 days"],
  );
});

test("the map has whoever calls for help, is off course or silent, each once", () => {
  const of = (id, kinds, more = {}) => ({ id, runner: id, bib: `${id}`, name: "", place: [id, 0], kinds, ...more });
  const entries = [
    of(1, ["silent"]), of(2, ["silent", "off_course"]), of(3, []), of(4, ["silent"], { place: undefined }),
    of(5, ["silent"]),
  ];
  const sos = [
    { id: 9, runner: 5, bib: "5", name: "", lat: 1, lng: 2 },
    { id: 10, runner: 6, bib: null, name: "Zoe", lat: null, lng: null },
  ];
  const found = spotsOf({ entries, sos }, (row, kind) => row.kinds.includes(kind));
  assert.deepEqual(found.map(({ bib, kind, place }) => [bib, kind, place]), [
    ["5", "calls for help", [2, 1]], ["1", "silent", [1, 0]], ["2", "off course", [2, 0]],
  ]);
});
