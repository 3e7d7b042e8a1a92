"""What a session and the loop of its messages ask of a dialect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Collection
from typing import Any, ClassVar

from runners.positions.track import Publisher
from runners.units.errors import CodedError


class Client(ABC):
    """The client of a session: what it is notified of, in its dialect."""

    @abstractmethod
    def send_error(self, error: CodedError, command: Any = None) -> None:
        """Send an error, as the reply to a command if there is one."""

    def send_access(self, reason: str, *, runner: str = "", race: str = "") -> None:
        """Notify the client that a runner or race cannot be seen any more."""

    def authenticated(self, publisher: Publisher) -> None:
        """Called when a token has set the publisher."""

    def resumed(self, runners: Collection[int], since: int) -> None:
        """Called when runners are sent again who were withheld since a time."""

    def ended(self, code: str, detail: str) -> None:
        """Called when the session loses its rights."""


class NoClient(Client):
    """The client of a session without an open socket: nothing is sent.

    It knows no session, so that one that has ended is freed without a garbage
    collection.
    """

    def send_error(self, error: CodedError, command: Any = None) -> None:
        pass


class Dialect(Client):
    """The parts of a conversation that differ between dialects."""

    # As operators see it, and in the handshake.
    name: ClassVar[str]
    subprotocol: ClassVar[str | None] = None

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Parse a message; raises `CodedError`."""

    @abstractmethod
    def handle(self, command: Any) -> Awaitable[None] | None:
        """Handle a message, or return what handles it.

        Both raise `CodedError` and `FixError`.
        """

    def handle_text(self, text: str) -> bool:
        """Handle a message that arrives while the loop waits for one.

        Returns False, and does nothing, if the loop has to handle it.
        """
        return False

    def connected(self) -> None:
        """Called once after the handshake."""

    def handled(self) -> Awaitable[None] | None:
        """Called after the messages that were received together."""
        return None

    def closed(self) -> None:
        """Called when the socket has closed."""
