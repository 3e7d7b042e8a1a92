"""The typed dialect of a session, `spectate.v1`: dispatch of commands, and replies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from msgspec import DecodeError

from runners.consumers.dialect import Dialect
from runners.consumers.messages import (
    Echo,
    Message,
    Ping,
    Publish,
    Refused,
    decode,
    refused,
)
from runners.consumers.session import Session
from runners.live.encoding import typed_dialect
from runners.live.encoding.messages import (
    Error,
    RaceAccess,
    Reply,
    RunnerAccess,
    Welcome,
    message_frame,
)
from runners.live.outbox import TypedOutbox
from runners.live.own_cheers import OwnCheers
from runners.positions.rate_limits import Bucket
from runners.positions.track import Publisher
from runners.units.clock import now_ms
from runners.units.errors import CodedError


class Typed(Dialect):
    """Speaks `spectate.v1` for one session."""

    name = "v1"
    subprotocol = typed_dialect.SUBPROTOCOL

    def __init__(
        self,
        commands: Mapping[type[Message], Command],
        session: Session,
        outbox: TypedOutbox,
    ) -> None:
        self.commands = commands
        self.session = session
        self.outbox = outbox
        self._own_cheers: OwnCheers | None = None
        self._buckets: dict[str, Bucket] = {}

    def parse(self, text: str) -> Message:
        try:
            message = decode(text)
        except (DecodeError, RecursionError) as error:
            return refused(self.session.parse(text), error)
        if type(message) is Ping:
            return Echo(id=message.id, fields=self.session.parse(text))
        return message

    async def handle(self, command: Message) -> None:
        if not isinstance(command, Publish):
            self.session.rates.limit_commands(*command.named)
        if isinstance(command, Refused):
            raise command.error
        await self.commands[type(command)](self, command)

    def connected(self) -> None:
        self.welcome()

    def authenticated(self, publisher: Publisher) -> None:
        session = self.session
        if self._own_cheers is None:
            hub = session.process.hub
            self._own_cheers = OwnCheers(hub, self.outbox, session.following)
        # Not awaited, because a phone must publish immediately even if the layer is
        # unavailable.
        session.start(self._own_cheers.listen(publisher.pk))

    def resumed(self, runners: Collection[int], since: int) -> None:
        self.session.backfill_later(runners, since)

    def closed(self) -> None:
        if self._own_cheers is not None:
            self._own_cheers.stop()

    # -- replies

    def answer(self, reply: Reply, command: Message | None) -> None:
        """Send a reply with the message's `id`, if it has one."""
        if command is not None:
            reply.id = command.id
        self.outbox.send_event(message_frame(reply))

    def send_error(self, error: CodedError, command: Message | None = None) -> None:
        self.answer(
            Error(code=error.code, detail=error.detail, **error.fields), command
        )

    def send_access(self, reason: str, *, runner: str = "", race: str = "") -> None:
        now = now_ms()
        self.outbox.send_event(
            message_frame(
                RunnerAccess(now, reason, runner)
                if runner
                else RaceAccess(now, reason, race)
            )
        )

    def welcome(self, command: Message | None = None) -> None:
        """Send who the token's runner is, after the handshake and an `auth`."""
        publisher = self.session.publisher
        welcome = Welcome(
            time=now_ms(),
            runner=None if publisher is None else publisher.code,
            heartbeat=typed_dialect.HEARTBEAT_S,
        )
        self.answer(welcome, command)

    def bucket(self, command: str, rate: float, burst: float) -> Bucket:
        """Return this socket's rate limit for a command."""
        bucket = self._buckets.get(command)
        if bucket is None:
            bucket = self._buckets[command] = Bucket(rate, burst)
        return bucket


# Handles one message of a session; raises `CodedError` and `FixError`.
Command = Callable[[Typed, Any], Awaitable[None]]
