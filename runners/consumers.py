"""The websocket: handshake, commands of both dialects, and the end of a socket.

A consumer only speaks the protocol. It joins one channel-layer group for each
followed runner through the relay, and group-sends positions through
`positions.accept`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, cast

import orjson
from channels.consumer import AsyncConsumer
from django.conf import settings

from runners import handshake, store
from runners.live.dialects import seed, v1
from runners.live.dialects.ids import RunnerIdError, WireId, code_of, wire_id_of
from runners.live.outbox import Outbox, SeedOutbox, TypedOutbox, now_ms
from runners.live.relay import Relay, get_relay
from runners.live.wire import EXTENSION, SendWire, Wire
from runners.positions.accept import Acceptor, Publisher, Receipt, get_acceptor
from runners.positions.fix import Fix, FixError, fix_from
from runners.sharing import viewing
from runners.sharing.rosters import Rosters, Whole, get_rosters

logger = logging.getLogger(__name__)

# A frame's size: a `publish` of 500 fixes fits. Bytes.
FRAME_LIMIT = 128 * 1024
# What a socket may follow; a race or `public` counts as one.
FOLLOW_LIMIT = 1_000
# Ids that a socket may publish for in open mode.
OPEN_PUBLISHERS = 1_000
# How long a socket may take to its first valid message. Seconds.
FIRST_MESSAGE = 10.0
# Fixes of one `publish`.
PUBLISH_LIMIT = 500
# When a publisher may try again after the store was unavailable. Milliseconds.
STORE_RETRY = 2_000

RESTART = 1012
TOO_BIG = 1009
INTERNAL_ERROR = 1011
NOT_OUR_PROTOCOL = 4400
NOT_SIGNED_IN = 4401
SILENT = 4408

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class CommandError(Exception):
    """What is wrong with a message: a stable dotted code and a sentence."""

    def __init__(self, code: str, detail: str, **fields: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.fields = fields


async def refuse(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer a handshake with HTTP 403."""
    await receive()
    await send({"type": "websocket.close"})


async def speak(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve a websocket in the dialect that its handshake chooses."""
    offered = scope.get("subprotocols") or []
    dialect = handshake.dialect_of(offered, [v1.SUBPROTOCOL])
    if not handshake.origin_allowed(scope) or (offered and dialect is None):
        await refuse(scope, receive, send)
        return
    consumer = SeedConsumer() if dialect is None else TypedConsumer()
    await consumer(scope, receive, send)


class SocketConsumer(AsyncConsumer):  # type: ignore[misc]
    """What both dialects share.

    It has no channel of its own in the layer and hops to no thread for an event, so
    it brings its own receive loop: `AsyncConsumer`'s waits for one thread before each.
    """

    subprotocol: ClassVar[str | None] = None

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {}
        self.relay: Relay = get_relay()
        self.acceptor: Acceptor = get_acceptor()
        self.wire: Wire
        self.outbox: Outbox
        self.publisher: Publisher | None = None
        self.user_id: int | None = None
        # Followed one by one: primary keys by code.
        self.following: dict[str, int] = {}
        self._silence: asyncio.TimerHandle | None = None

    async def __call__(
        self, scope: dict[str, Any], receive: Receive, send: Send
    ) -> None:
        self.scope = scope
        await receive()  # websocket.connect
        extension: Wire | None = scope.get("extensions", {}).get(EXTENSION)
        self.wire = SendWire(send) if extension is None else extension
        self.outbox = self.make_outbox()
        self.relay.sockets.add(self.outbox)
        try:
            await self.connect(send)
            while True:
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    self.wire.abandon()
                    break
                await self.receive(message)
        except Exception:
            logger.exception("A websocket failed")
            self.wire.close(INTERNAL_ERROR)
        finally:
            self.disconnect()

    async def connect(self, send: Send) -> None:
        await send({"type": "websocket.accept", "subprotocol": self.subprotocol})
        self._silence = self.relay.loop.call_later(
            FIRST_MESSAGE, self.wire.close, SILENT
        )
        token = handshake.token_of(self.scope)
        try:
            if session := handshake.session_of(self.scope):
                self.user_id = await store.read(viewing.user_of_session, session)
            if token is not None:
                await self.authenticate(token)
        except store.StoreUnavailable:
            self.send_store_unavailable()
        except CommandError as error:
            self.send_error(error)
            self.wire.close(NOT_SIGNED_IN)

    async def receive(self, message: dict[str, Any]) -> None:
        """Read one frame; whatever is wrong with it goes to its sender only."""
        text = message.get("text")
        if text is None:
            self.send_error(
                CommandError("message.invalid", "Send text frames with JSON.")
            )
            self.wire.close(NOT_OUR_PROTOCOL)
            return
        if len(text) > FRAME_LIMIT:
            self.send_error(
                CommandError(
                    "message.too_big", f"A frame has {FRAME_LIMIT:,} bytes at most."
                )
            )
            self.wire.close(TOO_BIG)
            return
        command: Any = None
        try:
            command = self.parse(text)
            await self.obey(command)
        except CommandError as error:
            self.send_error(error, command)
        except FixError as error:
            self.send_error(CommandError(error.code, error.detail), command)
        except RunnerIdError as error:
            self.send_error(CommandError("runner.invalid", str(error)), command)
        except store.StoreUnavailable:
            self.send_store_unavailable(command)
        except Exception:
            logger.exception("A message could not be obeyed")
            self.send_error(
                CommandError(
                    "server.error", "Something failed here. Nothing was changed."
                ),
                command,
            )
        else:
            self.heard()

    def disconnect(self) -> None:
        """Leave everything; also right after a handshake that came to nothing."""
        self.heard()
        self.relay.unfollow(self.following.values(), self.outbox)
        self.following.clear()
        self.relay.sockets.discard(self.outbox)

    # Commands

    def make_outbox(self) -> Outbox:
        raise NotImplementedError

    async def obey(self, command: dict[str, Any]) -> None:
        raise NotImplementedError

    def send_error(self, error: CommandError, command: Any = None) -> None:
        raise NotImplementedError

    def parse(self, text: str) -> dict[str, Any]:
        """Read a JSON object; raises `CommandError`."""
        try:
            command = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise CommandError("message.invalid", f"Not JSON: {error}.") from None
        if not isinstance(command, dict):
            raise CommandError("message.invalid", "Send a JSON object.")
        return command

    async def authenticate(self, token: str) -> None:
        """Become the runner whose token it is; raises `CommandError`."""
        publisher = await store.read(viewing.publisher_of_token, token)
        if publisher is None:
            raise CommandError(
                "token.invalid",
                "This token is unknown or was revoked. Ask for a new one.",
            )
        self.publisher = publisher
        self.heard()

    async def follow_codes(
        self, wire_ids: Sequence[object], command: dict[str, Any]
    ) -> dict[str, int]:
        """Follow runners one by one and return those newly followed.

        Each that may not be followed gets an error; the others are followed.
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
                    CommandError("runner.invalid", str(error), runner=_plain(wire_id)),
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
                    f"One socket follows {FOLLOW_LIMIT:,} at most. "
                    f"{len(chosen):,} of these {len(wire_ids):,} are followed.",
                ),
                command,
            )
        if not chosen:
            return {}
        found, refused = await store.read(
            viewing.followable, self.user_id, chosen, create=settings.SPECTATE_OPEN
        )
        for code, reason in refused.items():
            error = CommandError(reason, _REFUSALS[reason], runner=code)
            self.send_error(error, command)
        self.following.update(found)
        await self.relay.follow(found.values(), self.outbox)
        return found

    def count_follows(self) -> int:
        return len(self.following)

    def heard(self) -> None:
        """Note that the client speaks our protocol: it may be silent from now on."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def send_store_unavailable(self, command: Any = None) -> None:
        self.send_error(
            CommandError(
                "store.unavailable",
                "The database does not answer. Keep what you have and try again.",
                after=STORE_RETRY,
            ),
            command,
        )


_REFUSALS = {
    "runner.unknown": "There is no such runner, or they are not shown to you.",
    "follow.forbidden": "The runner has not accepted your request.",
}


class SeedConsumer(SocketConsumer):
    """Speaks the dialect of 2015."""

    def __init__(self) -> None:
        super().__init__()
        self._publishers: dict[str, Publisher] = {}

    def make_outbox(self) -> Outbox:
        return SeedOutbox(self.wire, self.relay)

    async def obey(self, command: dict[str, Any]) -> None:
        if command.get("initialRequest"):
            following = command.get("following")
            if not isinstance(following, list):
                raise CommandError(
                    "message.invalid", "`following` must be a list of ids."
                )
            await self.follow_codes(following, command)
        elif "lat" in command or "lng" in command:
            await self.publish(command)
        else:
            raise CommandError(
                "message.invalid",
                "Send an initialRequest, or a position with userId, lat and lng.",
            )

    async def publish(self, command: dict[str, Any]) -> None:
        publisher, wire_id = await self.publisher_of(command)
        t = command.get("time")
        timed = type(t) is int
        try:
            fix = fix_from(command, cast(int, t) if timed else now_ms())
        except FixError as error:
            self.acceptor.refuse(error)
            raise
        await self.acceptor.accept_live(publisher, fix, wire_id, timed=timed)

    async def publisher_of(self, command: dict[str, Any]) -> tuple[Publisher, WireId]:
        """Tell whose position it is, and the id to send it under."""
        token_runner = self.publisher
        if token_runner is not None and "userId" not in command:
            return token_runner, wire_id_of(token_runner.code)
        code = code_of(command.get("userId"))
        wire_id: WireId = command["userId"]
        if token_runner is not None:
            if code != token_runner.code:
                raise CommandError(
                    "runner.mismatch", "This token is not of the runner in userId."
                )
            return token_runner, wire_id
        if not settings.SPECTATE_OPEN:
            raise CommandError("token.required", "Publishing needs the runner's token.")
        publisher = self._publishers.get(code)
        if publisher is None:
            if len(self._publishers) >= OPEN_PUBLISHERS:
                raise CommandError(
                    "follow.limit",
                    f"One socket publishes for {OPEN_PUBLISHERS:,} ids at most.",
                )
            publisher = await store.read(viewing.open_publisher, code)
            self._publishers[code] = publisher
        return publisher, wire_id

    def send_error(self, error: CommandError, command: Any = None) -> None:
        detail = error.detail
        if "runner" in error.fields:
            detail = f"{error.fields['runner']}: {detail}"
        self.outbox.event(seed.error_frame(error.code, detail))


class TypedConsumer(SocketConsumer):
    """Speaks `spectate.v1`."""

    subprotocol = v1.SUBPROTOCOL
    outbox: TypedOutbox

    def __init__(self) -> None:
        super().__init__()
        self.rosters: Rosters = get_rosters()
        self.wholes: dict[Whole, None] = {}
        self.commands: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "auth": self.auth,
            "follow": self.follow,
            "unfollow": self.unfollow,
            "publish": self.publish,
            "ping": self.ping,
        }

    def make_outbox(self) -> TypedOutbox:
        return TypedOutbox(self.wire, self.relay)

    async def connect(self, send: Send) -> None:
        await super().connect(send)
        self.welcome()

    def disconnect(self) -> None:
        super().disconnect()
        self.rosters.leave(self.wholes, self.outbox)
        self.wholes.clear()

    async def obey(self, command: dict[str, Any]) -> None:
        if not _is_scalar(command.get("id")):
            raise CommandError("message.invalid", "`id` must be a JSON scalar.")
        type_ = command.get("type")
        run = self.commands.get(type_) if isinstance(type_, str) else None
        if run is None:
            raise CommandError(
                "message.unknown", f"`type` is one of {', '.join(self.commands)}."
            )
        await run(command)

    def answer(self, type_: str, command: Any, **fields: Any) -> None:
        """Send an answer, with the message's `id` if it has one."""
        if isinstance(command, dict) and _is_scalar(command.get("id")):
            fields |= {"id": command["id"]} if "id" in command else {}
        self.outbox.event(v1.message_frame(type_, **fields))

    def send_error(self, error: CommandError, command: Any = None) -> None:
        self.answer(
            "error", command, code=error.code, detail=error.detail, **error.fields
        )

    def welcome(self, command: Any = None) -> None:
        self.answer(
            "welcome",
            command,
            time=now_ms(),
            runner=None if self.publisher is None else self.publisher.code,
            heartbeat=v1.HEARTBEAT,
        )

    # Commands

    async def auth(self, command: dict[str, Any]) -> None:
        token = command.get("token")
        if not isinstance(token, str):
            raise CommandError("message.invalid", "`token` must be text.")
        try:
            await self.authenticate(token)
        except CommandError as error:
            self.send_error(error, command)
            self.wire.close(NOT_SIGNED_IN)
        else:
            self.welcome(command)

    async def follow(self, command: dict[str, Any]) -> None:
        runners, races, public = _followed(command)
        self.set_tick(command)
        bodies = []
        found = await self.follow_codes(runners, command)
        for whole in await self.wholes_of(races, public, command):
            if self.count_follows() >= FOLLOW_LIMIT:
                raise CommandError(
                    "follow.limit", f"One socket follows {FOLLOW_LIMIT:,} at most."
                )
            await self.rosters.join(whole, self.outbox)
            self.wholes[whole] = None
            bodies += await self.rosters.of(whole).snapshot()
        if found or not bodies:
            bodies += await store.read(_snapshot_of, list(found.values()))
        for left, body in zip(range(len(bodies) - 1, -1, -1), bodies, strict=True):
            frame_fields: dict[str, Any] = {
                "time": now_ms(),
                "truncated": [],
                "more": left > 0,
            }
            if "id" in command:
                frame_fields["id"] = command["id"]
            self.outbox.event(v1.snapshot_frame(body, **frame_fields))

    async def unfollow(self, command: dict[str, Any]) -> None:
        runners, races, public = _followed(command)
        ended = []
        for wire_id in runners:
            code = code_of(wire_id)
            pk = self.following.pop(code, None)
            if pk is not None:
                self.relay.unfollow((pk,), self.outbox)
                self.outbox.forget(pk)
                ended.append(code)
        wholes = [
            whole
            for whole in self.wholes
            if (whole.slug in races if whole.race is not None else public)
        ]
        for whole in wholes:
            del self.wholes[whole]
        self.rosters.leave(wholes, self.outbox)
        self.answer(
            "unfollowed",
            command,
            runners=ended,
            races=[whole.slug for whole in wholes if whole.race is not None],
            public=any(whole.race is None for whole in wholes),
        )

    async def publish(self, command: dict[str, Any]) -> None:
        if self.publisher is None:
            raise CommandError("token.required", "Publishing needs a runner's token.")
        items = command.get("fixes")
        if not isinstance(items, list) or not 1 <= len(items) <= PUBLISH_LIMIT:
            raise CommandError(
                "publish.invalid", f"`fixes` is a list of 1 to {PUBLISH_LIMIT} fixes."
            )
        receipt = await self.acceptor.accept(
            self.publisher, [_fix_of(item) for item in items], source="websocket"
        )
        if receipt.stored is None:
            self.send_store_unavailable(command)
        else:
            receipt.stored.add_done_callback(
                lambda stored: self.acknowledge(command, receipt, stored.result())
            )

    def acknowledge(self, command: dict[str, Any], receipt: Receipt, lost: int) -> None:
        if lost:
            self.send_error(
                CommandError("runner.unknown", "The runner does not exist any more."),
                command,
            )
            return
        self.answer(
            "ack",
            command,
            stored=receipt.accepted,
            rejected=[[index, code] for index, code, _ in receipt.rejected],
        )

    async def ping(self, command: dict[str, Any]) -> None:
        self.outbox.event(v1.pong_frame(command))

    # Following

    def set_tick(self, command: dict[str, Any]) -> None:
        wished = command.get("tick")
        if wished is None:
            return
        if type(wished) not in (int, float) or not wished >= 0:
            raise CommandError("message.invalid", "`tick` is in milliseconds.")
        self.outbox.tick = v1.tick_of(wished)

    async def wholes_of(
        self, slugs: list[Any], public: bool, command: dict[str, Any]
    ) -> list[Whole]:
        """Return the wholes that a message newly follows; errors for unknown races."""
        wholes = [Whole()] if public else []
        for slug in slugs:
            race = None
            if isinstance(slug, str):
                race = await store.read(viewing.find_race, slug)
            if race is None:
                self.send_error(
                    CommandError(
                        "race.unknown", "There is no such race.", race=_plain(slug)
                    ),
                    command,
                )
            else:
                wholes.append(Whole(race, slug))
        return [whole for whole in wholes if whole not in self.wholes]

    def count_follows(self) -> int:
        return len(self.following) + len(self.wholes)


def _followed(command: dict[str, Any]) -> tuple[list[Any], list[Any], bool]:
    """Read what `follow` and `unfollow` name; raises `CommandError`."""
    runners = command.get("runners", [])
    races = command.get("races", [])
    if not isinstance(runners, list) or not isinstance(races, list):
        raise CommandError("message.invalid", "`runners` and `races` are lists.")
    public = command.get("public", False)
    if not isinstance(public, bool):
        raise CommandError("message.invalid", "`public` is true or false.")
    return runners, races, public


def _snapshot_of(runners: list[int]) -> list[bytes]:
    items = viewing.runner_items(runners)
    viewing.add_trails(items)
    return v1.snapshot_bodies(items.values(), [])


def _fix_of(item: Any) -> Fix | FixError:
    """Read one fix of a `publish`."""
    if not isinstance(item, dict):
        return FixError("position.invalid", "A fix is an object with t, lat and lng.")
    t = item.get("t")
    if type(t) is not int:
        return FixError("position.invalid", "`t` is in milliseconds since the epoch.")
    try:
        return fix_from(item, t)
    except FixError as error:
        return error


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _plain(value: Any) -> Any:
    """Return a value short enough to be sent back in an error."""
    if isinstance(value, str):
        return value[:80]
    return value if isinstance(value, int | float | bool) else None
