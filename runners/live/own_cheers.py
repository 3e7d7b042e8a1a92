"""The cheers for the runner of a socket's token."""

from __future__ import annotations

from collections.abc import Mapping

from runners.live.encoding.frames import Frames
from runners.live.events import Cheered, RunnerEvent
from runners.live.hub import Hub
from runners.live.outbox import TypedOutbox


class OwnCheers:
    """Sends the cheers for the runner of a socket's token.

    The socket does not follow the runner: a token alone gives no access to positions.
    `following` has the runners that the socket follows, by code.
    """

    __slots__ = ("_following", "_hub", "_outbox", "_runner")

    def __init__(
        self, hub: Hub, outbox: TypedOutbox, following: Mapping[str, int]
    ) -> None:
        self._hub = hub
        self._outbox = outbox
        self._following = following
        self._runner: int | None = None

    async def listen(self, runner: int) -> None:
        """Send the cheers for this runner from now on, and for no other."""
        if runner != self._runner:
            self.stop()
            self._runner = runner
            await self._hub.subscribe((runner,), self)

    def receive(self, frames: Frames[RunnerEvent]) -> None:
        """Receive an event of the own runner."""
        event = frames.event
        # A socket that follows its own runner gets the event once.
        if type(event) is Cheered and event.runner not in self._following.values():
            self._outbox.send((frames,))

    def stop(self) -> None:
        """Stop sending cheers."""
        if self._runner is not None:
            self._hub.unsubscribe((self._runner,), self)
            self._runner = None
