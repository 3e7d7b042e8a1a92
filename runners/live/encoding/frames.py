"""The frames of an event, encoded once for all recipients of this process."""

from __future__ import annotations

from typing import Generic, TypeVar

from runners.live.encoding import seed, v1
from runners.live.events import Event

E = TypeVar("E", bound=Event, covariant=True)

_ENCODERS = {"seed": seed.encode, "v1": v1.encode}


class Frames(Generic[E]):
    """An event and its frames by dialect; empty if the dialect does not send it.

    A frame is encoded when its first recipient reads it. `v1` of a position is a row of
    a `positions` message.
    """

    __slots__ = ("event", "seed", "v1")

    event: E
    seed: bytes
    v1: bytes

    def __init__(self, event: E) -> None:
        self.event = event

    def encode(self) -> None:
        """Encode the event for every dialect now."""
        for dialect in _ENCODERS:
            getattr(self, dialect)

    def __getattr__(self, dialect: str) -> bytes:
        # Called only for slots that are not set, so later reads cost no call.
        frame = _ENCODERS[dialect](self.event)
        setattr(self, dialect, frame)
        return frame
