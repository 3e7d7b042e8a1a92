import assert from "node:assert/strict";
import { test } from "node:test";

import { linkEndedSentence, lostSentence } from "../../static/js/access.js";

test("the loss of a runner has a reason in words", () => {
  assert.equal(lostSentence("Bob", "private"), "Bob is private now.");
  assert.equal(lostSentence("Bob", "expired"), "Bob has stopped sharing.");
  assert.equal(lostSentence("Bob", "revoked"), "Bob is no longer shared with you.");
  assert.equal(lostSentence("Bob", "blocked"), lostSentence("Bob", "revoked"));
});

test("a link that ended was revoked or has expired", () => {
  assert.match(linkEndedSentence({ expires: 1000 }, 999), /was revoked/);
  assert.match(linkEndedSentence({ expires: 1000 }, 1000), /expired at/);
});
