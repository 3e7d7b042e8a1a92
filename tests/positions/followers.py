"""A follower of a runner, who records all events."""

from __future__ import annotations

import json
from typing import Any

from runners.live.encoding.frames import Frames
from runners.live.events import LateFixes, PositionAccepted, RunnerEvent
from runners.live.websocket_framing import frame_text


class Follower:
    """Records what the followers of a runner receive."""

    def __init__(self) -> None:
        self.events: list[Frames[RunnerEvent]] = []

    def receive(self, frames: Frames[RunnerEvent]) -> None:
        self.events.append(frames)

    @property
    def seed(self) -> list[Any]:
        return [
            json.loads(frame_text(e.for_seed())) for e in self.events if e.for_seed()
        ]

    @property
    def rows(self) -> list[Any]:
        return [
            json.loads(e.for_typed())
            for e in self.events
            if isinstance(e.event, PositionAccepted) and e.for_typed()
        ]

    @property
    def late(self) -> list[Any]:
        return [
            fix
            for e in self.events
            if isinstance(e.event, LateFixes)
            for fix in json.loads(frame_text(e.for_typed()))["fixes"]
        ]

    @property
    def progress(self) -> list[Any]:
        return [row[6] for row in self.rows]

    def published(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a kind, as typed clients receive them."""
        frames = [
            each.for_typed()
            for each in self.events
            if not isinstance(each.event, PositionAccepted) and each.for_typed()
        ]
        published = [json.loads(frame_text(frame)) for frame in frames]
        return [event for event in published if event.get("kind") == kind]
