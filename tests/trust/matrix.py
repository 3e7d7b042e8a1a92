"""The matrix origin × cookie × token × visibility × action, with expected outcomes.

`expected` is a separate table that uses none of the code under test.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal, NamedTuple

Origin = Literal["none", "own", "foreign", "null"]
Cookie = Literal["none", "stranger", "follower", "blocked", "owner"]
Token = Literal["none", "right", "another", "revoked", "garbage"]
Visibility = Literal["public", "followers", "private", "race_on", "race_over"]
Action = Literal[
    "seed follow",
    "seed publish",
    "typed follow",
    "typed snapshot",
    "typed publish",
    "typed list",
    "page",
    "track",
    "home",
    "live.json",
]

ORIGINS: tuple[Origin, ...] = ("none", "own", "foreign", "null")
COOKIES: tuple[Cookie, ...] = ("none", "stranger", "follower", "blocked", "owner")
TOKENS: tuple[Token, ...] = ("none", "right", "another", "revoked", "garbage")
VISIBILITIES: tuple[Visibility, ...] = (
    "public",
    "followers",
    "private",
    "race_on",
    "race_over",
)
SEED: tuple[Action, ...] = ("seed follow", "seed publish")
TYPED: tuple[Action, ...] = (
    *("typed follow", "typed snapshot", "typed publish", "typed list"),
)
PAGES: tuple[Action, ...] = ("page", "track", "home", "live.json")


class Visitor(NamedTuple):
    """A visitor's credentials, and the visibility of the requested runner."""

    origin: Origin
    cookie: Cookie
    token: Token
    visibility: Visibility


def visitors() -> Iterator[Visitor]:
    for each in itertools.product(ORIGINS, COOKIES, TOKENS, VISIBILITIES):
        yield Visitor(*each)


def pairs_with_origins() -> Iterator[Visitor]:
    """Yield each cookie × token × visibility once, and each of these with each origin.

    A quarter of all visitors.
    """
    for cookie, token, visibility in itertools.product(
        range(len(COOKIES)), range(len(TOKENS)), range(len(VISIBILITIES))
    ):
        origin = (cookie + token + visibility) % len(ORIGINS)
        yield Visitor(
            ORIGINS[origin], COOKIES[cookie], TOKENS[token], VISIBILITIES[visibility]
        )


# Viewers of a runner, by visibility. "none" is a visitor without an account.
SEEN_BY: dict[Visibility, set[Cookie]] = {
    "public": {"none", "stranger", "follower", "owner"},
    "followers": {"follower", "owner"},
    "private": {"owner"},
    "race_on": {"none", "stranger", "follower", "owner"},
    # Outside the race window only runners see themselves, even if they have followers.
    "race_over": {"owner"},
}
SHOWN_TO_ANYBODY: set[Visibility] = {"public", "race_on"}


def expected(visitor: Visitor, action: Action) -> str:
    """Return the expected outcome of a cell."""
    if action in PAGES:
        return _expected_of_page(visitor, action)
    if visitor.origin in ("foreign", "null"):
        return "HTTP 403"
    if visitor.token in ("revoked", "garbage"):
        return "closed 4401"
    # A request without an origin does not come from a browser, so cookies are ignored.
    cookie = visitor.cookie if visitor.origin == "own" else "none"
    sees = cookie in SEEN_BY[visitor.visibility]
    match action:
        case "seed follow" | "typed follow":
            return "live" if sees else "runner.unknown"
        case "typed snapshot":
            return "shown" if sees else "absent"
        case "typed list":
            # A topic is the same for all viewers, except for those whom a runner has
            # blocked.
            anybody = visitor.visibility in SHOWN_TO_ANYBODY and cookie != "blocked"
            return "shown" if anybody else "absent"
        case "seed publish" if visitor.token == "another":
            return "runner.mismatch"
        case _:
            return {
                "none": "token.required",
                "right": "stored as the runner",
                "another": "stored as another",
            }[visitor.token]


def _expected_of_page(visitor: Visitor, action: Action) -> str:
    # A page of a different origin cannot read the response (no CORS), and a runner's
    # token gives no right to see. Neither changes a page.
    if action == "home":
        # The page lists the public runners, and the runners whom the visitor follows.
        listed = visitor.visibility == "public" and visitor.cookie != "blocked"
        return "named" if listed or visitor.cookie == "follower" else "not named"
    if action == "live.json":
        return "shown" if visitor.cookie in SEEN_BY[visitor.visibility] else "absent"
    return "200" if visitor.cookie in SEEN_BY[visitor.visibility] else "404"
