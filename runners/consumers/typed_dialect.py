"""The typed dialect of a session, `spectate.v1`: dispatch of commands, and replies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from runners.consumers.errors import CommandError
from runners.consumers.own_cheers import OwnCheers
from runners.consumers.session import Dialect, Session
from runners.live.encoding import typed_dialect
from runners.live.hub import Hub
from runners.live.outbox import TypedOutbox
from runners.live.socket_writer import SocketWriter
from runners.positions.rate_limits import Bucket
from runners.positions.track import Publisher
from runners.units.clock import now_ms

# Each reply repeats the `id` of its message. Characters.
ID_LIMIT = 200


class Typed(Dialect):
    """Speaks `spectate.v1` for one session."""

    name = "v1"
    subprotocol = typed_dialect.SUBPROTOCOL
    outbox: TypedOutbox

    def __init__(self, commands: Mapping[str, Command], session: Session) -> None:
        self.commands = commands
        self.session = session
        self.own_cheers = OwnCheers(session)
        self._buckets: dict[str, Bucket] = {}

    def make_outbox(self, writer: SocketWriter, hub: Hub) -> TypedOutbox:
        self.outbox = TypedOutbox(writer, hub)
        return self.outbox

    async def handle(self, command: dict[str, Any]) -> None:
        if command.get("type") != "publish":
            self.session.limit_commands(command.get("runners"), command.get("races"))
        if not _is_id(command.get("id")):
            raise CommandError(
                "message.invalid", f"`id` is a JSON scalar of {ID_LIMIT} bytes at most."
            )
        type_ = command.get("type")
        run = self.commands.get(type_) if isinstance(type_, str) else None
        if run is None:
            raise CommandError(
                "message.unknown", f"`type` is one of {', '.join(self.commands)}."
            )
        await run(self, command)

    def connected(self) -> None:
        self.welcome()

    def authenticated(self, publisher: Publisher) -> None:
        self.own_cheers.listen(publisher.pk)

    def resumed(self, runners: Collection[int], since: int) -> None:
        self.session.backfill_later(runners, since)

    def closed(self) -> None:
        self.own_cheers.stop()

    # -- replies

    def answer(self, type_: str, command: Any, **fields: Any) -> None:
        """Send a reply with the message's `id`, if it has one."""
        if isinstance(command, dict) and _is_id(command.get("id")):
            fields |= {"id": command["id"]} if "id" in command else {}
        self.outbox.send_event(typed_dialect.message_frame(type_, **fields))

    def send_error(self, error: CommandError, command: Any = None) -> None:
        self.answer(
            "error", command, code=error.code, detail=error.detail, **error.fields
        )

    def send_access(self, reason: str, **what: str) -> None:
        self.outbox.send_event(
            typed_dialect.message_frame(
                "event", kind="access", time=now_ms(), reason=reason, **what
            )
        )

    def welcome(self, command: Any = None) -> None:
        """Send who the token's runner is, after the handshake and an `auth`."""
        publisher = self.session.publisher
        self.answer(
            "welcome",
            command,
            time=now_ms(),
            runner=None if publisher is None else publisher.code,
            heartbeat=typed_dialect.HEARTBEAT_S,
        )

    def bucket(self, command: str, rate: float, burst: float) -> Bucket:
        """Return this socket's rate limit for a command."""
        bucket = self._buckets.get(command)
        if bucket is None:
            bucket = self._buckets[command] = Bucket(rate, burst)
        return bucket


# Handles one message of a session; raises `CommandError` and `FixError`.
Command = Callable[[Typed, dict[str, Any]], Awaitable[None]]


def _is_id(value: Any) -> bool:
    """Return whether a value is a JSON scalar that is short enough to be repeated."""
    if isinstance(value, str):
        return len(value) <= ID_LIMIT
    return value is None or isinstance(value, int | float | bool)
