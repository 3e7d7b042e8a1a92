"""The frames of an event, encoded once for all recipients of this process."""

from __future__ import annotations

from typing import Generic, TypeVar

from runners.live.encoding import seed, v1
from runners.live.events import Event

E = TypeVar("E", bound=Event, covariant=True)


class Frames(Generic[E]):
    """An event and its frames by dialect; empty if the dialect does not send it.

    A frame is encoded for its first recipient. `v1` of a position is a row of a
    `positions` message.
    """

    __slots__ = ("event", "seed", "v1")

    def __init__(self, event: E) -> None:
        self.event = event
        # Empty until they are encoded. Outboxes read them for each delivery, so they
        # are plain attributes.
        self.seed = b""
        self.v1 = b""

    def for_seed(self) -> bytes:
        """Return the frame of the seed dialect."""
        if not self.seed:
            self.seed = seed.encode(self.event)
        return self.seed

    def for_v1(self) -> bytes:
        """Return the frame of the typed dialect."""
        if not self.v1:
            self.v1 = v1.encode(self.event)
        return self.v1
