"""The dialect of 2015 on a socket."""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings

from runners import store
from runners.consumers.errors import CommandError
from runners.consumers.socket import SocketConsumer
from runners.live.dialects import seed
from runners.live.dialects.ids import WireId, code_of, wire_id_of
from runners.live.outbox import Outbox, SeedOutbox, now_ms
from runners.positions.fix import FixError, fix_from
from runners.positions.track import Publisher
from runners.sharing import identity

# Ids that a socket may publish for in open mode.
OPEN_PUBLISHERS = 1_000


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
        self.take_fixes(1)
        t = command.get("time")
        timed = type(t) is int
        try:
            fix = fix_from(command, cast(int, t) if timed else now_ms())
        except FixError as error:
            self.acceptor.refuse(error)
            raise
        try:
            await self.acceptor.accept_live(publisher, fix, wire_id, timed=timed)
        except FixError as error:
            if error.code == "runner.unknown":
                # Deleted since; in open mode the next position makes them anew.
                self._publishers.pop(publisher.code, None)
            raise

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
            publisher = await store.read(identity.open_publisher, code)
            self._publishers[code] = publisher
        return publisher, wire_id

    def send_error(self, error: CommandError, command: Any = None) -> None:
        detail = error.detail
        if "runner" in error.fields:
            detail = f"{error.fields['runner']}: {detail}"
        self.outbox.event(seed.error_frame(error.code, detail))
