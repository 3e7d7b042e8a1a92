import assert from "node:assert/strict";
import { test } from "node:test";

import { Anchored } from "../../static/js/map/anchored.js";

globalThis.ResizeObserver = class {
  observe() {}
};

/** The callout at a height of a map of 390 × 800 px, where a sheet covers the lower half. */
function showAt(y, { covered = 440, height = 180 } = {}) {
  const pans = [];
  const map = {
    on() {},
    project: () => ({ x: 100, y }),
    getContainer: () => ({ clientWidth: 390, clientHeight: 800 }),
    panBy: (offset) => pans.push(offset),
  };
  const element = { offsetWidth: 300, offsetHeight: height, style: {}, hidden: true };
  const anchored = new Anchored(map, element);
  anchored.setCovered(covered);
  anchored.show([2, 48]);
  return { pans, top: Number(element.style.translate.split(" ")[1].replace("px", "")) };
}

test("a callout is above its place, or below it where the buttons are", () => {
  assert.deepEqual(showAt(300), { pans: [], top: 106 });
  assert.deepEqual(showAt(120), { pans: [], top: 134 });
});

test("the map moves down where a callout would be under the sheet", () => {
  assert.deepEqual(showAt(200).pans, [[0, -62]]);
  // A small phone has less room: the place stays above the sheet.
  assert.deepEqual(showAt(100, { covered: 600 }).pans, [[0, -86]]);
});
