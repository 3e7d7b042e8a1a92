import assert from "node:assert/strict";
import { test } from "node:test";

import { refusal } from "../../static/js/cheers.js";

test("a refused cheer has a text with the reason", () => {
  assert.equal(refusal("Bob", { code: "cheer.off" }), "Bob does not accept cheers.");
  assert.equal(refusal("Bob", { code: "rate.limited", after: 4200 }), "Again in 5 s.");
  assert.match(refusal("Bob", { code: "cheer.lost" }), /Try again/);
});
