import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { device } from "../../static/js/phone/account.js";
import { Backlog, BATCH } from "../../static/js/phone/backlog.js";
import { correction, inWords } from "../../static/js/phone/deviceclock.js";
import { fixOf } from "../../static/js/phone/geolocation.js";
import { describeState } from "../../static/js/phone/words.js";

/** @param {number[]} times */
function backlogOf(...times) {
  const backlog = new Backlog();
  for (const t of times) backlog.add({ t, lat: 1, lng: 2 });
  return backlog;
}

/** @param {import("../../static/js/phone/backlog.js").Batch | null} batch */
const times = (batch) => batch?.fixes.map(({ t }) => t) ?? null;

test("the newest fix is sent alone, then the backlog in batches, oldest first", () => {
  const backlog = backlogOf(...Array.from({ length: BATCH + 2 }, (_, t) => t));
  assert.deepEqual(times(backlog.next()), [BATCH + 1]);
  const second = times(backlog.next());
  assert.equal(second?.length, BATCH);
  assert.equal(second?.[0], 0);
  assert.deepEqual(times(backlog.next()), [BATCH]);
  assert.equal(backlog.next(), null);
});

test("a fix that is added while others are in flight is sent immediately", () => {
  const backlog = backlogOf(1, 2);
  backlog.next();
  backlog.next();
  backlog.add({ t: 3, lat: 1, lng: 2 });
  assert.deepEqual(times(backlog.next()), [3]);
});

test("a fix stays until it is acked, and is sent again after a loss", () => {
  const backlog = backlogOf(1, 2);
  const newest = backlog.next();
  backlog.next();
  backlog.done(newest?.id ?? 0);
  assert.equal(backlog.size, 1);
  backlog.putAllBack();
  assert.equal(backlog.size, 1);
  assert.deepEqual(times(backlog.next()), [1]);
});

test("an ack of an earlier connection removes nothing", () => {
  const backlog = backlogOf(1);
  const sent = backlog.next();
  backlog.putAllBack();
  assert.deepEqual(backlog.done(sent?.id ?? 0), []);
  assert.equal(backlog.size, 1);
});

test("fixes that were put back are sent again, unless only the newest is requested", () => {
  const backlog = backlogOf(1, 2, 3);
  backlog.next();
  const rest = backlog.next();
  assert.deepEqual(times(rest), [1, 2]);
  backlog.putBack(rest?.id ?? 0);
  assert.equal(backlog.next({ newestOnly: true }), null);
  assert.deepEqual(times(backlog.next()), [1, 2]);
});

test("the number of fixes in flight is limited", () => {
  const backlog = backlogOf(...Array.from({ length: 9000 }, (_, t) => t));
  let sent = 0;
  for (let batch = backlog.next(); batch; batch = backlog.next()) sent += batch.fixes.length;
  assert.ok(sent >= 4000 && sent < 4000 + BATCH);
});

test("a clock that is nearly right is not corrected", () => {
  assert.equal(correction(1_000_000, 1_004_000), 0);
  assert.equal(correction(1_000_000, 1_720_000), -720_000);
  assert.match(inWords(-720_000), /is 12 min fast\. Times are corrected\./);
  assert.match(inWords(20_000), /is 20 s slow\./);
  assert.equal(inWords(0), "");
});

test("a fix has the fields that the browser knows, in the server's time", () => {
  const coords = { latitude: 1, longitude: 2, accuracy: 5, altitude: null, speed: 3, heading: NaN };
  const position = /** @type {any} */ ({ coords, timestamp: 1000.4 });
  assert.deepEqual(fixOf(position, { offset: 500, battery: null }), {
    t: 1500,
    lat: 1,
    lng: 2,
    accuracy: 5,
    speed: 3,
  });
});

/** @param {Partial<import("../../static/js/phone/words.js").View>} view */
function texts(view) {
  return describeState({
    doing: "recording",
    trouble: null,
    located: true,
    status: { state: "open" },
    waiting: 0,
    refused: null,
    reached: 997_000,
    now: 1_000_000,
    ...view,
  });
}

test("the page shows what has reached the server, and what waits", () => {
  assert.deepEqual(texts({}), {
    tone: "live",
    headline: "Sharing",
    detail: "Your last position arrived 3 s ago.",
  });
  const offline = texts({ status: { state: "waiting" }, waiting: 12, reached: 760_000 });
  assert.equal(offline.headline, "Recording, no connection");
  assert.match(offline.detail, /^12 positions kept here .* 4 min ago\.$/);
  const unconfirmed = texts({ waiting: 40, reached: 940_000 });
  assert.match(unconfirmed.detail, /not confirmed .* arrived 1 min ago/);
  assert.equal(texts({ reached: 940_000 }).headline, "No new position");
  assert.match(texts({ doing: "stopped", waiting: 1 }).detail, /^1 position still to send/);
});

test("problems are shown first", () => {
  assert.equal(texts({ trouble: "denied" }).tone, "alarm");
  assert.equal(texts({ located: false }).headline, "Looking for your position");
  assert.equal(texts({ refused: "sharing.paused" }).headline, "Recording, not shared");
  assert.equal(texts({ doing: "ready", trouble: "insecure" }).headline, "Not a secure page");
  const revoked = texts({ status: { state: "ended", code: 4401 }, waiting: 2 });
  assert.match(revoked.detail, /revoked .* 2 positions kept here/);
});

test("a browser's token has a recognisable name", () => {
  const agent = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36";
  assert.equal(device(agent), "Chrome, Android");
  assert.equal(device(""), "");
});

test("the service worker caches exactly the modules that the page needs", () => {
  const root = new URL("../../static/js/phone/", import.meta.url);
  const needed = new Set();
  const visit = (/** @type {URL} */ url) => {
    if (needed.has(url.href)) return;
    needed.add(url.href);
    for (const [, path] of readFileSync(url, "utf8").matchAll(/ from "(\..*)";$/gm)) {
      visit(new URL(path, url));
    }
  };
  visit(new URL("page.js", root));
  const worker = readFileSync(new URL("worker.js", root), "utf8");
  const cached = [...worker.matchAll(/^ {2}"(js\/.*)",$/gm)].map(
    ([, path]) => new URL(`../../${path}`, root).href,
  );
  assert.deepEqual(cached.sort(), [...needed].sort());
});
