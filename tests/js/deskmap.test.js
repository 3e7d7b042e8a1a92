import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.matchMedia = () => ({ matches: false, addEventListener() {} });
const { DeskMap } = await import("../../static/js/admin/deskmap.js");
globalThis.document = { documentElement: {} };
globalThis.getComputedStyle = () => ({ getPropertyValue: () => "#000000" });

test("the map of the desk shows the course while nobody is in trouble", () => {
  const fitted = [];
  const map = { addSource() {}, addLayer() {}, fitBounds: ({ places }) => fitted.push(places) };
  class LngLatBounds {
    places = [];
    extend(place) {
      this.places.push(place);
    }
  }
  const desk = new DeskMap(map, { LngLatBounds });
  const feature = (type, coordinates) => ({ type: "Feature", geometry: { type, coordinates } });
  desk.showCourse({ features: [
    feature("LineString", [[2, 48, 30], [2.1, 48.1, 31]]), feature("Point", [9, 9]),
  ] });
  desk.show([]);
  assert.deepEqual(fitted, [[[2, 48], [2.1, 48.1]]]);
});
