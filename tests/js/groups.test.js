import assert from "node:assert/strict";
import { test } from "node:test";

import { findBibs } from "../../static/js/groups.js";

test("a pasted list of bibs is found once each, and what is missing is named", () => {
  const runners = [["ann", "1"], ["bob", "A17"], ["eve", null]].map(([code, bib]) => ({ code, bib }));
  assert.deepEqual(findBibs(" 1,a17;1\n99  zz\t", runners), {
    codes: ["ann", "bob"], missing: ["99", "zz"],
  });
  assert.deepEqual(findBibs(" ,; ", runners), { codes: [], missing: [] });
});
