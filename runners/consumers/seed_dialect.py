"""The seed dialect of a session: the protocol of the server of 2015."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any, cast

from django.conf import settings
from msgspec import DecodeError, Struct
from msgspec.json import Decoder
from msgspec.structs import asdict

from runners import database
from runners.consumers.dialect import Dialect
from runners.consumers.session import Session, failed
from runners.consumers.single_runners import follow_runners
from runners.live.encoding import seed_dialect
from runners.live.encoding.ids import code_of, wire_id_of
from runners.live.events import WireId
from runners.positions.fix import Fix
from runners.positions.pipeline import Soon
from runners.positions.track import Publisher
from runners.positions.validation import FixError, fix_from, place_error
from runners.rights import token_lookup
from runners.units.clock import now_ms
from runners.units.errors import CodedError

logger = logging.getLogger(__name__)

# Limit of the ids that a socket may publish for in open mode.
OPEN_PUBLISHERS = 1_000


class BarePosition(Struct, forbid_unknown_fields=True, gc=False):
    """A position of the client of 2015, which sends nothing else."""

    userId: int | str  # noqa: N815
    lat: float
    lng: float


decode_bare = Decoder(BarePosition).decode


class Seed(Dialect):
    """Speaks the seed dialect for one session."""

    name = "2015"

    def __init__(self, session: Session) -> None:
        self.session = session
        # Publishers and the ids for sending positions, by the id in a message.
        self._publishers: dict[WireId, tuple[Publisher, WireId]] = {}
        # Positions of one runner that wait for the messages behind them, and whether
        # the phone has set the time of each.
        self._gathered: list[tuple[Fix, bool]] = []
        self._gathered_of: tuple[Publisher, WireId] | None = None
        # Positions of one runner to be accepted in this pass of the loop.
        self._soon: Soon | None = None

    def handled(self) -> Awaitable[None] | None:
        return self.accept_gathered() if self._gathered else None

    def parse(self, text: str) -> BarePosition | dict[str, Any]:
        try:
            return decode_bare(text)
        except DecodeError:
            return self.session.parse(text)

    def handle_text(self, text: str) -> bool:
        try:
            position = decode_bare(text)
        except DecodeError:
            return False
        return self.accept_soon(position)

    def accept_soon(self, position: BarePosition) -> bool:
        """Accept a position by plain calls; return False if it has to wait."""
        of = self._publishers.get(position.userId)
        if of is None or self._gathered:
            return False
        publisher, wire_id = of
        t, lat, lng = now_ms(), position.lat, position.lng
        pipeline, soon = self.session.process.pipeline, self._soon
        if (
            soon is None
            or not soon.fixes
            or soon.runner is not publisher
            or soon.wire_id is not wire_id
        ):
            if (track := pipeline.tracks.loaded(publisher.pk, t)) is None:
                return False
            soon = self._soon = Soon(
                publisher,
                track,
                [],
                wire_id,
                self.session.count_accepted,
                self._refused,
            )
        try:
            self.session.limit_fixes(1)
        except CodedError as error:
            self.send_error(error)
            return True
        if (wrong := place_error(lat, lng)) is not None:
            self.session.refuse_fix(wrong)
            return True
        if not soon.fixes:
            pipeline.accept_soon(soon)
        soon.fixes.append((Fix(t, lat, lng), False))
        return True

    def _refused(self, error: Exception) -> None:
        """Send the error of a position that the pipeline has not accepted."""
        if not isinstance(error, FixError):
            logger.error("A position could not be accepted", exc_info=error)
            self.send_error(failed())
            return
        self.session.report_refused(error)
        if error.code == "runner.unknown":
            # The runner was deleted. In open mode the next position creates it again.
            self._publishers.clear()

    def handle(self, command: BarePosition | dict[str, Any]) -> Awaitable[None] | None:
        if isinstance(command, dict):
            return self.handle_any(command)
        if self.accept_soon(command):
            return None
        of = self._publishers.get(command.userId)
        if of is None or of is not self._gathered_of:
            return self.handle_any(asdict(command))
        # A position of the same runner as the last one waits for nothing.
        self.session.limit_fixes(1)
        lat, lng = command.lat, command.lng
        if (error := place_error(lat, lng)) is not None:
            self.session.refuse_fix(error)
        else:
            self._gathered.append((Fix(now_ms(), lat, lng), False))
        return None

    async def handle_any(self, command: dict[str, Any]) -> None:
        if command.get("initialRequest"):
            following = command.get("following")
            self.session.rates.limit_commands(following)
            if not isinstance(following, list):
                raise CodedError(
                    "message.invalid", "`following` must be a list of ids."
                )
            await self.accept_gathered()
            await follow_runners(self.session, following, command)
        elif "lat" in command or "lng" in command:
            await self.publish(command)
        else:
            self.session.rates.limit_commands()
            raise CodedError(
                "message.invalid",
                "Send an initialRequest, or a position with userId, lat and lng.",
            )

    async def publish(self, command: dict[str, Any]) -> None:
        """Queue a position, to be accepted with those in the messages behind it."""
        of = self.known(command.get("userId"))
        if of is None:
            of = await self.publisher_of(command)
        self.session.limit_fixes(1)
        t = command.get("time")
        timed = type(t) is int
        fix = fix_from(command, cast(int, t) if timed else now_ms())
        if of is not self._gathered_of:
            await self.accept_gathered()
            self._gathered_of = of
        self._gathered.append((fix, timed))

    def known(self, wire_id: Any) -> tuple[Publisher, WireId] | None:
        """Return the runner of an id for which this socket has published before."""
        # 7.0 and True equal ids but are not valid ids.
        is_id = type(wire_id) is int or type(wire_id) is str
        return self._publishers.get(wire_id) if is_id else None

    async def accept_gathered(self) -> None:
        """Accept the queued positions; send an error for each that is refused."""
        self.session.process.pipeline.accept_waiting()
        if not self._gathered:
            return
        assert self._gathered_of is not None
        gathered, self._gathered = self._gathered, []
        publisher, wire_id = self._gathered_of
        try:
            refused = await self.session.process.pipeline.accept_live(
                publisher, gathered, wire_id
            )
        except database.DatabaseUnavailable:
            for _ in gathered:
                self.session.send_store_unavailable()
            return
        except Exception:
            logger.exception("Positions of a 2015 socket could not be accepted")
            for _ in gathered:
                self.send_error(failed())
            return
        self.session.count_accepted(len(gathered) - len(refused))
        for error in refused:
            self._refused(error)

    async def publisher_of(self, command: dict[str, Any]) -> tuple[Publisher, WireId]:
        """Return the runner of a position, and the id that its followers receive."""
        publisher = self.session.publisher
        wire_id: Any = command.get("userId")
        if publisher is not None and "userId" not in command:
            wire_id = wire_id_of(publisher.code)
        code = code_of(wire_id)
        if publisher is None:
            publisher = await self.open_publisher(code)
        elif code != publisher.code:
            raise CodedError(
                "runner.mismatch",
                "This token belongs to a different runner than `userId`.",
            )
        return self._publishers.setdefault(wire_id, (publisher, wire_id))

    async def open_publisher(self, code: str) -> Publisher:
        """Return the runner of an id in open mode, without a check."""
        if not settings.SPECTATE_OPEN:
            raise CodedError(
                "token.required",
                "Publishing needs the runner's token. Send it in the handshake.",
            )
        if len(self._publishers) >= OPEN_PUBLISHERS:
            raise CodedError(
                "follow.limit",
                f"A socket may publish for at most {OPEN_PUBLISHERS:,} ids.",
            )
        # Positions queued for other runners do not wait for the database.
        await self.accept_gathered()
        return await database.read(token_lookup.open_publisher, code)

    def ended(self, code: str, detail: str) -> None:
        # The right has ended, so no more positions are accepted.
        self._publishers.clear()
        for _ in self._gathered:
            self.session.process.pipeline.refuse(FixError(code, detail))
        self._gathered.clear()

    def send_error(self, error: CodedError, command: Any = None) -> None:
        detail = error.detail
        if "runner" in error.fields:
            detail = f"{error.fields['runner']}: {detail}"
        self.session.outbox.send_event(seed_dialect.error_frame(error.code, detail))
