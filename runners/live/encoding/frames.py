"""The frames of an event, encoded once for all recipients of this process."""

from __future__ import annotations

from typing import Generic, TypeVar

from runners.live.encoding import seed_dialect, typed_dialect
from runners.live.events import Event

E = TypeVar("E", bound=Event, covariant=True)


class Frames(Generic[E]):
    """An event and its frames by dialect; empty if the dialect does not send it.

    A frame is encoded for its first recipient. `typed` of a position is a row of a
    `positions` message.
    """

    __slots__ = ("event", "seed", "typed")

    def __init__(self, event: E) -> None:
        self.event = event
        # Empty until they are encoded. Outboxes read them for each delivery, so they
        # are plain attributes.
        self.seed = b""
        self.typed = b""

    def for_seed(self) -> bytes:
        """Return the frame of the seed dialect."""
        if not self.seed:
            self.seed = seed_dialect.encode(self.event)
        return self.seed

    def for_typed(self) -> bytes:
        """Return the frame of the typed dialect."""
        if not self.typed:
            self.typed = typed_dialect.encode(self.event)
        return self.typed
