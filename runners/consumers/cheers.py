"""Cheers of one typed socket: those it sends, and those for its own runner."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from runners import database
from runners.consumers.errors import CommandError
from runners.live.encoding.frames import Frames
from runners.live.encoding.ids import code_of
from runners.live.events import Cheered, RunnerEvent
from runners.positions.rate_limits import Bucket
from runners.subscriptions import cheering
from runners.subscriptions.cheering import CheerError, cheers_for

if TYPE_CHECKING:
    from runners.consumers.typed import TypedConsumer

logger = logging.getLogger(__name__)

# The rate of one socket.
SOCKET_CHEERS_PER_S = 1 / 5
SOCKET_BURST = 3
# When to retry after the layer was unavailable.
LAYER_RETRY_MS = 2_000


class Cheers:
    """Sends a socket's cheers, and receives those for the runner of its token.

    The socket does not follow the runner: a token alone gives no access to positions.
    """

    def __init__(self, consumer: TypedConsumer) -> None:
        self.consumer = consumer
        self.bucket = Bucket(SOCKET_CHEERS_PER_S, SOCKET_BURST)
        self.runner: int | None = None

    async def send(self, command: dict[str, Any]) -> None:
        """Handle a `cheer`; raises `CommandError`."""
        consumer = self.consumer
        code = code_of(command.get("runner"))
        try:
            text = cheering.cheer_text(command.get("text"))
            consumer.limit_rate(
                self.bucket, 1, "Too many cheers. Wait a moment and try again."
            )
            pk = await database.read(cheering.cheered_runner, consumer.viewer, code)
        except CheerError as error:
            raise CommandError(error.code, error.detail, runner=code) from None
        consumer.limit_rate(
            cheering.sender_limit(consumer.viewer, consumer.address, pk),
            1,
            "Too many cheers for this runner from you. Wait a moment.",
        )
        consumer.limit_rate(
            cheers_for.of(pk), 1, "This runner gets too many cheers. Try again later."
        )
        try:
            await cheering.cheer(consumer.hub, runner=pk, code=code, text=text)
        except Exception as error:
            logger.warning("The channel layer did not accept a cheer: %r", error)
            raise CommandError(
                "cheer.lost",
                "The cheer may have reached nobody. Try again.",
                after=LAYER_RETRY_MS,
            ) from None
        consumer.answer("ack", command)

    def listen(self, runner: int) -> None:
        """Receive the cheers for this runner from now on, and for no other."""
        if runner != self.runner:
            self.stop()
            self.runner = runner
            # Not awaited, because a phone must publish immediately even if the layer is
            # unavailable.
            self.consumer.start(self.consumer.hub.subscribe((runner,), self))

    def receive(self, frames: Frames[RunnerEvent]) -> None:
        """Receive an event of the own runner."""
        event = frames.event
        # A socket that follows its own runner gets the event once.
        if (
            type(event) is Cheered
            and event.runner not in self.consumer.following.values()
        ):
            self.consumer.outbox.send((frames,))

    def stop(self) -> None:
        """Stop receiving cheers."""
        if self.runner is not None:
            self.consumer.hub.unsubscribe((self.runner,), self)
            self.runner = None
