import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document = { documentElement: { lang: "en" }, querySelector: () => null };
Object.defineProperty(globalThis, "navigator", { value: { languages: ["en-US"] }, configurable: true });
const { clockTime, hourAndMinute, minuteRange, moment } = await import("../../static/js/format.js");

test("a time of 12 h has no leading zero, and a range has AM or PM once", () => {
  const at = new Date(2026, 4, 3, 6, 14, 5).getTime();
  const plain = (/** @type {string} */ text) => text.replace(/\s/g, " ");
  assert.equal(plain(clockTime(at)), "6:14:05 AM");
  assert.equal(plain(hourAndMinute(at)), "6:14 AM");
  assert.equal(plain(moment(at)), "May 3, 6:14 AM");
  assert.equal(plain(minuteRange(at, at + 120_000)), "6:14–6:16 AM");
  assert.equal(plain(minuteRange(at, at + 1_000)), "6:14 AM");
  assert.equal(plain(minuteRange(at, at + 6 * 3_600_000)), "6:14 AM–12:14 PM");
  assert.equal(plain(minuteRange(at, at + 18 * 3_600_000)), "6:14 AM–12:14 AM");
});
