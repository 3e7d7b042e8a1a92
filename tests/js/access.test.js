import assert from "node:assert/strict";
import { test } from "node:test";

import { linkEndedSentence, lostSentence, nobodySentence } from "../../static/js/access.js";

test("the loss of a runner has a text for each reason", () => {
  assert.equal(lostSentence("Bob", "private"), "Bob is private now.");
  assert.equal(lostSentence("Bob", "expired"), "Bob has stopped sharing.");
  assert.equal(lostSentence("Bob", "revoked"), "Bob is no longer shared with you.");
  assert.equal(lostSentence("Bob", "blocked"), lostSentence("Bob", "revoked"));
});

test("a link that ended was revoked or has expired", () => {
  assert.match(linkEndedSentence({ expires: 1000 }, 999), /was revoked/);
  assert.match(linkEndedSentence({ expires: 1000 }, 1000), /expired at/);
});

test("a page without runners shows the reason", () => {
  const race = { start: 10_000_000, ends: 20_000_000 };
  assert.match(nobodySentence({ oneRunner: "bob", race: null }, 0), /first position/);
  assert.match(nobodySentence({ oneRunner: null, race: null }, 0), /Nobody is sharing/);
  const sentence = (now) => nobodySentence({ oneRunner: null, race }, now);
  assert.match(sentence(6_399_999), /one hour before/);
  assert.match(sentence(6_400_000), /start list/);
  assert.match(sentence(20_000_000), /over/);
});
