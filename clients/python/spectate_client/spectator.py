"""A spectator of runners and races."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .connection import TEMPORARY_ERRORS, Connection, Ended, Message

Fix = dict[str, Any]

FOLLOW_ID = "follow"
# Of a row after the runner's code. Later versions may append values.
FIX_FIELDS = ("t", "lat", "lng", "speed", "heading", "progress", "uncertainty")


def fix_of(row: list[Any]) -> Fix:
    return dict(zip(FIX_FIELDS, row, strict=False))


class Spectator(Connection):
    """Follows runners and misses nothing that was stored while it was disconnected.

    `follow` has the fields of the message: `runners`, `races`, `public`, `share`,
    `pin`, `tick`. `runners` has each runner as in a snapshot, by code.
    """

    def __init__(self, url: str, follow: Message, **options: Any) -> None:
        super().__init__(url, **options)
        # The newest position of a runner.
        self.on_moved: Callable[[str, Fix], object] = lambda code, fix: None
        # A point of the trail, which is identified by `t` and may come repeatedly.
        self.on_passed: Callable[[str, Fix], object] = lambda code, fix: None
        # This runner may no longer be shown.
        self.on_lost: Callable[[str], object] = lambda code: None
        # Fetch /runners/CODE/track.json?since= until that succeeds.
        self.on_gap: Callable[[str, int], object] = lambda code, since: None
        # Each `event`: splits, states, cheers …
        self.on_event: Callable[[Message], object] = lambda event: None
        self.runners: dict[str, Message] = {}
        self._follow = follow
        # The `time` of the last frame before which nothing was missing.
        self._since: int | None = None
        self._is_following = self._is_complete = False
        self._newest: dict[str, int] = {}
        self._in_snapshot: set[str] = set()

    def _opened(self) -> None:
        self._is_following = self._is_complete = False
        self._in_snapshot = set()

    def _outgoing(self) -> Iterator[Message]:
        if not self._is_following:
            self._is_following = True
            since = {} if self._since is None else {"since": self._since}
            yield {"type": "follow", "id": FOLLOW_ID, **self._follow, **since}

    def _received(self, message: Message) -> None:
        match message:
            case {"type": "snapshot"}:
                self._read_snapshot(message)
            case {"type": "positions", "fixes": fixes}:
                for code, *row in fixes:
                    self._move(code, row)
            case {"type": "late", "runner": code, "fixes": fixes}:
                for row in fixes:
                    self.on_passed(code, fix_of(row))
            case {"type": "event"}:
                self._read_event(message)
            case {"type": "error", "id": id_} if id_ == FOLLOW_ID:
                self._follow_refused(message)
        # What was missed follows the snapshot, whose own time is therefore not used.
        if self._is_complete and message["type"] != "snapshot" and "time" in message:
            self._since = message["time"]

    def _read_snapshot(self, snapshot: Message) -> None:
        for runner in snapshot["runners"]:
            self.runners[runner["code"]] = runner
            self._in_snapshot.add(runner["code"])
            if runner["fix"]:
                self._move(runner["code"], runner["fix"])
        for code in snapshot["truncated"]:
            self.on_gap(code, self._since or 0)
        if not snapshot["more"]:
            self._is_complete = True
            self._answered()
            for code in self.runners.keys() - self._in_snapshot:
                self._lose(code)

    def _read_event(self, event: Message) -> None:
        match event:
            case {"kind": "runner", "change": "removed", "runner": code}:
                self._lose(code)
            case {"kind": "runner", "runner": runner}:
                self.runners[runner["code"]] = runner
                self._in_snapshot.add(runner["code"])
            case {"kind": "access", "runner": code}:
                self._lose(code)
        self.on_event(event)

    def _follow_refused(self, error: Message) -> None:
        code, detail = error["code"], error["detail"]
        if code in TEMPORARY_ERRORS:
            self._is_following = False
            self._retry_later(error)
        elif not code.startswith("share."):
            self.on_refused(code, detail, error.get("runner", error.get("race")))
        elif self._follow.keys() & {"runners", "races", "public"}:
            self.on_refused(code, detail, self._follow["share"])
        else:
            raise Ended(code, detail)

    def _move(self, code: str, row: list[Any]) -> None:
        fix = fix_of(row)
        if fix["t"] > self._newest.get(code, 0):
            self._newest[code] = fix["t"]
            self.on_moved(code, fix)

    def _lose(self, code: str) -> None:
        self.runners.pop(code, None)
        self._newest.pop(code, None)
        self.on_lost(code)
