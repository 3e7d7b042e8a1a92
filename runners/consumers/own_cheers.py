"""The cheers for the runner of a socket's token."""

from __future__ import annotations

from runners.consumers.session import Session
from runners.live.encoding.frames import Frames
from runners.live.events import Cheered, RunnerEvent


class OwnCheers:
    """Receives the cheers for the runner of a socket's token.

    The socket does not follow the runner: a token alone gives no access to positions.
    """

    __slots__ = ("_runner", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._runner: int | None = None

    def listen(self, runner: int) -> None:
        """Receive the cheers for this runner from now on, and for no other."""
        if runner != self._runner:
            self.stop()
            self._runner = runner
            # Not awaited, because a phone must publish immediately even if the layer is
            # unavailable.
            self._session.start(self._session.process.hub.subscribe((runner,), self))

    def receive(self, frames: Frames[RunnerEvent]) -> None:
        """Receive an event of the own runner."""
        event = frames.event
        # A socket that follows its own runner gets the event once.
        if (
            type(event) is Cheered
            and event.runner not in self._session.following.values()
        ):
            self._session.outbox.send((frames,))

    def stop(self) -> None:
        """Stop receiving cheers."""
        if self._runner is not None:
            self._session.process.hub.unsubscribe((self._runner,), self)
            self._runner = None
