"""The base of both dialects' consumers: handshake, rights, rates, the end of a socket.

A consumer implements the protocol only. It joins one channel-layer group per followed
runner through the hub, and sends positions to groups through the pipeline.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import orjson
from django.conf import settings

from runners import database
from runners.consumers import handshake
from runners.consumers.errors import CommandError
from runners.consumers.subscriptions import SubscriptionConsumer
from runners.live.close_codes import (
    FRAME_TOO_BIG,
    INTERNAL_ERROR,
    NOT_OUR_PROTOCOL,
    NOT_SIGNED_IN,
    OVERLOADED,
    SILENT,
    TOO_FAST,
)
from runners.live.encoding.ids import RunnerIdError, code_of
from runners.live.outbox import Outbox
from runners.live.socket_writer import EXTENSION, AsgiWriter, SocketWriter
from runners.positions.pipeline import Pipeline
from runners.positions.rate_limits import Bucket
from runners.positions.validation import FixError
from runners.rights import access, token_lookup
from runners.rights.access import Viewer
from runners.serving.process import Process
from runners.units.clock import now_ms

logger = logging.getLogger(__name__)

FRAME_LIMIT: int = settings.SPECTATE_FRAME_LIMIT
# Limit of followed runners and topics.
FOLLOW_LIMIT: int = settings.SPECTATE_FOLLOW_LIMIT
# Seconds from the handshake to the first valid message.
FIRST_MESSAGE: int = settings.SPECTATE_FIRST_MESSAGE
# Messages refused in a row for their rate before the socket is closed.
TOO_FAST_LIMIT = 100
# The rate of one socket: messages other than positions, and each runner or race that
# one names, as each may cause an error and a read.
COMMANDS_PER_S = 50.0
COMMAND_BURST = 2_500.0
# When a publisher may retry after the database was unavailable.
STORE_RETRY_MS = 2_000


Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class SocketConsumer(SubscriptionConsumer):
    """The base of both dialects' consumers.

    It has no channel in the layer. It has its own receive loop, because that of
    `AsyncConsumer` waits for a thread before each event.
    """

    subprotocol: ClassVar[str | None] = None
    # The dialect's name for operators.
    dialect: ClassVar[str]

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self.scope: dict[str, Any] = {}
        self.since = now_ms()
        self.pipeline: Pipeline = process.pipeline
        # The counts that include this socket: of its user, token and links.
        self.socket_counts: list[tuple[str, int]] = []
        self.refused_in_a_row: Counter[Bucket] = Counter()
        self.command_limit = Bucket(COMMANDS_PER_S, COMMAND_BURST)
        self._silence_timer: asyncio.TimerHandle | None = None
        self._handling = False

    async def __call__(
        self, scope: dict[str, Any], receive: Receive, send: Send
    ) -> None:
        self.scope = scope
        await receive()  # websocket.connect
        self.writer = writer_of(scope, send)
        self.outbox = self.make_outbox()
        self.hub.sockets.add(self.outbox)
        self.monitor.sockets.add(self)
        try:
            await self.connect(send)
            while True:
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    self.writer.abandon()
                    break
                await self.receive(message)
        except Exception:
            logger.exception("A websocket was closed after an error")
            self.outbox.close(INTERNAL_ERROR)
        finally:
            self.disconnect()

    async def connect(self, send: Send) -> None:
        await send({"type": "websocket.accept", "subprotocol": self.subprotocol})
        self.await_message()
        token = handshake.handshake_token(self.scope)
        try:
            if session := handshake.session_of(self.scope):
                user = await database.read(token_lookup.user_of_session, session)
                if user is not None:
                    self.viewer = Viewer(user=user, session=session)
                    self.count_socket("user", user, settings.SPECTATE_SOCKETS_A_VIEWER)
            if token is not None:
                await self.authenticate(token)
        except database.DatabaseUnavailable:
            self.send_store_unavailable()
            self.outbox.close(OVERLOADED)
        except CommandError as error:
            self.send_error(error)
            self.outbox.close(
                TOO_FAST if error.code == "socket.limit" else NOT_SIGNED_IN
            )

    async def receive(self, message: dict[str, Any]) -> None:
        """Handle one frame; an error goes to its sender only."""
        text = message.get("text")
        if text is None:
            self.send_error(
                CommandError("message.invalid", "Send text frames with JSON.")
            )
            self.outbox.close(NOT_OUR_PROTOCOL)
            return
        if len(text) > FRAME_LIMIT:
            self.send_error(
                CommandError(
                    "message.too_big",
                    f"A frame may have at most {FRAME_LIMIT:,} bytes.",
                )
            )
            self.outbox.close(FRAME_TOO_BIG)
            return
        command: Any = None
        try:
            command = self.parse(text)
            self._handling = True
            await self.handle(command)
        except CommandError as error:
            self.send_error(error, command)
        except FixError as error:
            self.pipeline.refuse(error)
            self.report_refused(error, command)
        except RunnerIdError as error:
            self.send_error(CommandError("runner.invalid", str(error)), command)
        except database.DatabaseUnavailable:
            # The message was valid, so a client that waits for the database is not
            # silent.
            self.protocol_confirmed()
            self.send_store_unavailable(command)
        except Exception:
            logger.exception("A websocket message could not be handled")
            self.send_error(failed(), command)
        else:
            self.protocol_confirmed()
        finally:
            self._handling = False

    def disconnect(self) -> None:
        """End all subscriptions and tasks, also after a handshake that failed."""
        self.protocol_confirmed()
        self.hub.unsubscribe(self.following.values(), self.outbox)
        self.following.clear()
        for task in self.tasks:
            task.cancel()
        # A task may have subscribed in the meantime.
        self.hub.unsubscribe(self.personal, self.outbox)
        self.hub.sockets.discard(self.outbox)
        self.monitor.sockets.discard(self)
        self.monitor.release_sockets(self.socket_counts)

    # -- messages

    def make_outbox(self) -> Outbox:
        raise NotImplementedError

    async def handle(self, command: dict[str, Any]) -> None:
        raise NotImplementedError

    def parse(self, text: str) -> dict[str, Any]:
        """Parse a JSON object; raises `CommandError`."""
        try:
            command = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            self.limit_commands()
            raise CommandError("message.invalid", f"Not JSON: {error}.") from None
        if not isinstance(command, dict):
            self.limit_commands()
            raise CommandError("message.invalid", "Send a JSON object.")
        return command

    def limit_commands(self, *named: object) -> None:
        """Count a message and the items of these lists of it; raises `CommandError`."""
        self.limit_rate(
            self.command_limit,
            1 + sum(len(names) for names in named if isinstance(names, list)),
            "Too many messages at once. Send this one again later.",
        )

    async def authenticate(self, token: str) -> None:
        """Set the runner of a token as the publisher; raises `CommandError`."""
        generation = self.monitor.generation
        bearer = await database.read(token_lookup.find_token, token)
        if bearer is None:
            await self.monitor.delay_failure(self.address)
            raise CommandError(
                "token.invalid",
                "This token is unknown or was revoked. Ask for a new one.",
            )
        if self.viewer.token != bearer.token:
            self.count_socket("token", bearer.token, settings.SPECTATE_SOCKETS_A_TOKEN)
        self.publisher = bearer.publisher
        self.viewer = replace(self.viewer, token=bearer.token)
        self.recheck_at = min(self.recheck_at, access.earliest([bearer.until]))
        self.recheck_if_changed(generation)
        self.protocol_confirmed()

    @property
    def address(self) -> str:
        client = self.scope.get("client")
        return client[0] if client else ""

    def count_socket(self, kind: str, key: int, limit: int) -> None:
        """Count this socket against a limit; raises `CommandError`."""
        if not self.monitor.count_socket(kind, key, limit):
            raise CommandError(
                "socket.limit", f"One {kind} has {limit} sockets at most. Close one."
            )
        self.socket_counts.append((kind, key))

    def limit_fixes(self, fixes: int) -> None:
        """Count fixes against the runner's rate; raises `CommandError`."""
        if self.viewer.token is None or self.publisher is None:
            return
        bucket = self.process.publish_limits.of(self.publisher.pk)
        try:
            self.limit_rate(
                bucket,
                fixes,
                "Too many positions at once. Keep them and send them later.",
            )
        except CommandError as error:
            self.record_refused([(error.code, error.detail)])
            raise

    def report_refused(self, error: FixError, command: Any = None) -> None:
        """Send the error of a refused fix to the phone, and record it."""
        self.record_refused([(error.code, error.detail)])
        self.send_error(CommandError(error.code, error.detail), command)

    def record_refused(self, refused: Collection[tuple[str, str]]) -> None:
        """Record for the organisers why a phone's fixes are refused: (code, detail)."""
        token = self.viewer.token
        if refused and token is not None and self.publisher is not None:
            runner = self.publisher.pk
            self.pipeline.phone_activity.record(token, runner, refused=refused)

    def limit_rate(self, bucket: Bucket, count: int, detail: str) -> None:
        """Count against a rate; raises `CommandError`."""
        wait = bucket.take(count)
        if not wait:
            self.refused_in_a_row.pop(bucket, None)
            return
        self.refused_in_a_row[bucket] += 1
        if self.refused_in_a_row[bucket] > TOO_FAST_LIMIT:
            self.outbox.close(TOO_FAST)
        raise CommandError("rate.limited", detail, after=math.ceil(wait * 1000))

    async def follow_codes(
        self, wire_ids: Sequence[object], command: dict[str, Any]
    ) -> dict[str, int]:
        """Follow runners one by one; map newly followed codes to primary keys.

        Each runner that may not be followed causes an error; the others are followed.
        """
        codes: dict[str, None] = {}
        room = FOLLOW_LIMIT - self.count_follows()
        for number, wire_id in enumerate(wire_ids):
            if number == FOLLOW_LIMIT or len(codes) > room:
                break
            try:
                code = code_of(wire_id)
            except RunnerIdError as error:
                self.send_error(
                    CommandError("runner.invalid", str(error), runner=plain(wire_id)),
                    command,
                )
            else:
                if code not in self.following:
                    codes[code] = None
        chosen = list(codes)[:room]
        if len(wire_ids) > FOLLOW_LIMIT or len(codes) > room:
            self.send_error(
                CommandError(
                    "follow.limit",
                    f"A socket may follow at most {FOLLOW_LIMIT:,}. Unfollow "
                    "some first. "
                    f"{len(chosen):,} of these {len(wire_ids):,} are followed.",
                ),
                command,
            )
        if not chosen:
            return {}
        generation = self.monitor.generation
        grants, refused = await self.runner_reads.followable(
            self.viewer, chosen, create=settings.SPECTATE_OPEN
        )
        for code, reason in refused.items():
            refusal = CommandError(reason, _REFUSALS[reason], runner=code)
            self.send_error(refusal, command)
        await self.follow_granted(grants, generation)
        return {grant.code: grant.pk for grant in grants}

    def count_follows(self) -> int:
        return len(self.following)

    def await_message(self) -> None:
        """Close the socket if the client sends no valid message in time."""
        self._silence_timer = self.hub.loop.call_later(
            FIRST_MESSAGE, self._close_silent
        )

    def _close_silent(self) -> None:
        if self._handling:
            # The client has sent a message. In a crowd, a follow takes some time.
            self.await_message()
        else:
            self.outbox.close(SILENT)

    def protocol_confirmed(self) -> None:
        """Record that the client has sent a valid message and may be silent now."""
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None

    def send_store_unavailable(self, command: Any = None) -> None:
        self.send_error(
            CommandError(
                "store.unavailable",
                "The database does not answer. Keep what you have and try again.",
                after=STORE_RETRY_MS,
            ),
            command,
        )


_REFUSALS = {
    "runner.unknown": "There is no such runner, or they are not shown to you.",
    "follow.forbidden": "The runner has not accepted your request.",
}


def failed() -> CommandError:
    """Return the error that clients get for an exception here."""
    return CommandError(
        "server.error", "The server failed to handle this. Nothing was changed."
    )


def writer_of(scope: dict[str, Any], send: Send) -> SocketWriter:
    """Return a socket's writer: the server's own, if it offers one."""
    extension: SocketWriter | None = scope.get("extensions", {}).get(EXTENSION)
    return AsgiWriter(send) if extension is None else extension


def plain(value: Any) -> Any:
    """Return a value that is short enough to be repeated in an error."""
    if isinstance(value, str):
        return value[:80]
    return value if isinstance(value, int | float | bool) else None
