"""What a session asks of its dialect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Collection
from typing import Any, ClassVar

from runners.live.hub import Hub
from runners.live.outbox import Outbox
from runners.live.socket_writer import SocketWriter
from runners.positions.track import Publisher
from runners.units.errors import CodedError


class Dialect(ABC):
    """The parts of a session that differ between dialects."""

    # As operators see it, and in the handshake.
    name: ClassVar[str]
    subprotocol: ClassVar[str | None] = None

    @abstractmethod
    def make_outbox(self, writer: SocketWriter, hub: Hub) -> Outbox:
        """Return the queue of frames for a new socket."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Parse a message; raises `CodedError`."""

    @abstractmethod
    def handle(self, command: Any) -> Awaitable[None] | None:
        """Handle a message, or return what handles it.

        Both raise `CodedError` and `FixError`.
        """

    def handle_text(self, text: str) -> bool:
        """Handle a message that arrives while the session waits for one.

        Returns False, and does nothing, if the session has to handle it.
        """
        return False

    @abstractmethod
    def send_error(self, error: CodedError, command: Any = None) -> None:
        """Send an error, as the reply to a command if there is one."""

    def send_access(self, reason: str, *, runner: str = "", race: str = "") -> None:
        """Notify the client that a runner or race cannot be seen any more."""

    # -- called by the session

    def connected(self) -> None:
        """Called once after the handshake."""

    def authenticated(self, publisher: Publisher) -> None:
        """Called when a token has set the publisher."""

    def handled(self) -> Awaitable[None] | None:
        """Called after the messages that were received together."""
        return None

    def resumed(self, runners: Collection[int], since: int) -> None:
        """Called when runners are sent again who were withheld since a time."""

    def ended(self, code: str, detail: str) -> None:
        """Called when the session loses its rights."""

    def closed(self) -> None:
        """Called when the socket has closed."""


class Ended(Dialect):
    """The dialect of a session that has ended: nothing is sent.

    It knows no session, so that one that has ended is freed without a garbage
    collection. `Session.run` has read its last message, so that none is parsed or
    handled; errors of messages that were queued before still come.
    """

    name = "ended"

    def make_outbox(self, writer: SocketWriter, hub: Hub) -> Outbox:
        raise NotImplementedError

    def parse(self, text: str) -> Any:
        raise NotImplementedError

    def handle(self, command: Any) -> Awaitable[None] | None:
        raise NotImplementedError

    def send_error(self, error: CodedError, command: Any = None) -> None:
        pass
