"""One open websocket: its viewer, what it follows, and its rates.

A session has what both dialects have in common. `message_loop.py` receives its
messages.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import orjson
from django.conf import settings

from runners import database
from runners.consumers.dialect import Client, Dialect, NoClient
from runners.consumers.followed import Followed
from runners.consumers.rates import Rates
from runners.live.close_codes import NO_LONGER_ALLOWED, NOT_SIGNED_IN, RECONNECT
from runners.live.encoding.frames import Frames
from runners.live.events import Event
from runners.live.outbox import Outbox
from runners.positions.track import Publisher
from runners.positions.validation import FixError
from runners.recovery.backfill import read_again
from runners.rights import access, token_lookup
from runners.rights.access import AccessCheck, AccessDecision, Grant, Viewer
from runners.serving.process import Process
from runners.subscriptions.topic import TopicName
from runners.units.clock import moment_of, now_ms
from runners.units.errors import CodedError

# When a publisher may retry after the database was unavailable.
STORE_RETRY_MS = 2_000
# Time between two records of a phone's accepted fixes, many of which may arrive per
# second.
ACTIVITY_MS = 60_000

NO_CLIENT = NoClient()


class Session:
    """A client's open socket: who it is, and what it may see and publish."""

    def __init__(
        self, process: Process, address: str, network: str, outbox: Outbox
    ) -> None:
        self.process = process
        self.address = address
        self.network = network
        self.since = now_ms()
        self.client: Client = NO_CLIENT
        self.dialect = ""
        self.outbox = outbox
        self.followed = Followed(process, outbox)
        self.viewer = Viewer()
        self.publisher: Publisher | None = None
        # Accepted fixes of this phone that are not recorded yet, the time of the last
        # of them, and when to record the next. Milliseconds.
        self._accepted = 0
        self._accepted_at = 0
        self._record_at = 0
        self._recheck_at = math.inf
        # Tasks that run while messages are handled.
        self.tasks: set[asyncio.Task[None]] = set()
        # The counts that include this socket: of its user, token and links.
        self.socket_counts: list[tuple[str, int]] = []
        self.rates = Rates(process, network, outbox)

    @property
    def recheck_at(self) -> float:
        return self._recheck_at

    @recheck_at.setter
    def recheck_at(self, at: float) -> None:
        self._recheck_at = at
        if at < math.inf:
            self.process.access_monitor.expiring.add(self)
        else:
            self.process.access_monitor.expiring.discard(self)

    def open(self, dialect: Dialect) -> None:
        """Begin with a client whose socket is open, and speaks this dialect."""
        self.client = dialect
        self.dialect = dialect.name
        self.process.hub.sockets.add(self.outbox)
        self.process.access_monitor.sockets.add(self)

    def close(self) -> None:
        """End all subscriptions and tasks.

        Errors of messages that are still queued come later, and are not sent.
        """
        for task in self.tasks:
            task.cancel()
        self._record_activity()
        self.followed.clear()
        self.client = NO_CLIENT
        self.process.hub.sockets.discard(self.outbox)
        self.process.access_monitor.sockets.discard(self)
        self.process.access_monitor.expiring.discard(self)
        self.process.access_monitor.release_sockets(self.socket_counts)

    def send_error(self, error: CodedError, command: Any = None) -> None:
        """Send an error, to this socket only."""
        self.client.send_error(error, command)

    def parse(self, text: str) -> dict[str, Any]:
        """Parse a JSON object; raises `CodedError`."""
        try:
            command = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            self.rates.limit_commands()
            raise CodedError("message.invalid", f"Not JSON: {error}.") from None
        if not isinstance(command, dict):
            self.rates.limit_commands()
            raise CodedError("message.invalid", "Send a JSON object.")
        return command

    # -- rights

    async def sign_in(self, session: str) -> None:
        """Set the user of a browser's session as the viewer; raises `CodedError`."""
        user = await database.read(token_lookup.user_of_session, session)
        if user is not None:
            self.viewer = Viewer(user=user, session=session)
            self.count_socket("user", user, settings.SPECTATE_SOCKETS_A_VIEWER)

    async def authenticate(self, token: str) -> None:
        """Set the runner of a token as the publisher; raises `CodedError`."""
        generation = self.process.access_monitor.generation
        bearer = await database.read(token_lookup.find_token, token)
        if bearer is None:
            await self.process.wrong_secrets.delay(self.network)
            raise CodedError(
                "token.invalid",
                "This token is unknown or was revoked. Ask for a new one.",
            )
        if self.viewer.token != bearer.token:
            self.count_socket("token", bearer.token, settings.SPECTATE_SOCKETS_A_TOKEN)
            self._record_activity()
            self._record_at = 0
        self.publisher = bearer.publisher
        self.viewer = replace(self.viewer, token=bearer.token)
        self.recheck_at = min(self.recheck_at, access.earliest([bearer.until]))
        self.recheck_if_changed(generation)
        self.client.authenticated(bearer.publisher)

    def count_socket(self, kind: str, key: int, limit: int) -> None:
        """Count this socket against a limit; raises `CodedError`."""
        if not self.process.access_monitor.count_socket(kind, key, limit):
            raise CodedError(
                "socket.limit", f"One {kind} has {limit} sockets at most. Close one."
            )
        self.socket_counts.append((kind, key))

    def recheck_if_changed(self, generation: int) -> None:
        """Request a check of rights that were read before the latest change."""
        if self.process.access_monitor.generation != generation:
            self.recheck_at = 0.0

    async def follow_granted(self, grants: Sequence[Grant], generation: int) -> None:
        """Follow runners that this socket may see, as read at a generation."""
        until = min((grant.until for grant in grants), default=math.inf)
        self.recheck_at = min(self.recheck_at, until)
        self.recheck_if_changed(generation)
        await self.followed.add_runners(grants)

    # -- the access monitor's view

    @property
    def following(self) -> dict[str, int]:
        """Return the runners followed one by one: primary keys by code."""
        return self.followed.runners

    @property
    def races(self) -> frozenset[int]:
        """Return the primary keys of the followed races."""
        return self.followed.races

    def apply_decision(self, check: AccessCheck, decision: AccessDecision) -> None:
        """End the subscriptions that are no longer allowed, and notify the client."""
        checked = check.viewer
        if decision.moved and self.viewer.token == checked.token:
            detail = "The phone belongs to a different runner now. Reconnect."
            self.end("token.moved", detail, RECONNECT)
        elif not decision.token and self.viewer.token == checked.token:
            self.end("token.revoked", "The token has ended.", NOT_SIGNED_IN)
        elif not decision.session:
            self.end("session.ended", "You are signed out.", NOT_SIGNED_IN)
        elif decision.lost_links and not (
            self.viewer.user
            or self.viewer.token
            or set(self.viewer.links) - decision.lost_links.keys()
        ):
            self.end("share.ended", "This link has ended.", NO_LONGER_ALLOWED)
        else:
            self._narrow(check, decision)

    def _narrow(self, check: AccessCheck, decision: AccessDecision) -> None:
        """Go on with what is still allowed."""
        followed = self.followed
        links = tuple(pk for pk in self.viewer.links if pk not in decision.lost_links)
        changed = (
            self.viewer != check.viewer
            or check.following != frozenset(followed.runners.values())
            or check.races != followed.races
        )
        self.viewer = replace(self.viewer, links=links)
        for pk, reason in decision.lost.items():
            for code in followed.remove_runners({pk}):
                self.client.send_access(reason, runner=code)
        for race, reason in decision.lost_races.items():
            self._drop([each for each in followed.topics if each.race == race], reason)
        for link, reason in decision.lost_links.items():
            by_link = [each for each, by in followed.topics.items() if by == link]
            self._drop(by_link, reason)
        followed.apply_grants(decision.grants)
        # Subscriptions added since the check have not been checked yet.
        self.recheck_at = 0.0 if changed else decision.recheck_at
        if followed.withholding:
            followed.withholding = False
            self.start(self._resume_private(followed.withheld_since))

    def _drop(self, topic_names: Collection[TopicName], reason: str) -> None:
        self.followed.remove_topics(topic_names)
        for topic_name in topic_names:
            self.client.send_access(reason, race=topic_name.slug)

    async def _resume_private(self, since: int) -> None:
        await self.followed.resume_private()
        self.client.resumed(set(self.followed.personal), since)

    def withhold_private(self) -> None:
        """Stop sending runners who are not visible to everybody."""
        self.followed.withhold_private()

    def erase(self, runner: int) -> None:
        """Discard queued positions of a runner who erased theirs."""
        self.followed.forget(runner)

    def send_events(self, events: Sequence[Frames[Event]]) -> None:
        """Send events about a runner followed individually."""
        self.outbox.send(events)

    def end(self, code: str, detail: str, close_code: int) -> None:
        """Close a socket that has lost its rights, after sending an error."""
        self.client.ended(code, detail)
        self.followed.remove_topics(list(self.followed.topics))
        self.followed.remove_runners(set(self.followed.runners.values()))
        self._record_activity()
        self.publisher = None
        self.send_error(CodedError(code, detail))
        self.outbox.close(close_code)

    # -- the operator's view

    @property
    def topic_names(self) -> Collection[TopicName]:
        return self.followed.topics

    # -- rates and refusals

    def limit_fixes(self, fixes: int) -> None:
        """Count fixes against the runner's rate; raises `CodedError`."""
        if self.viewer.token is None or self.publisher is None:
            return
        bucket = self.process.publish_limits.of(self.publisher.pk)
        try:
            self.rates.limit(
                bucket,
                fixes,
                "Too many positions at once. Keep them and send them later.",
            )
        except CodedError as error:
            self.record_refused([(error.code, error.detail)])
            raise

    def refuse_fix(self, error: FixError, command: Any = None) -> None:
        """Count a refused fix, and report it."""
        self.process.pipeline.refuse(error)
        self.report_refused(error, command)

    def report_refused(self, error: FixError, command: Any = None) -> None:
        """Send the error of a refused fix to the phone, and record it."""
        self.record_refused([(error.code, error.detail)])
        self.send_error(error, command)

    def record_refused(self, refused: Collection[tuple[str, str]]) -> None:
        """Record for the organisers why a phone's fixes are refused: (code, detail)."""
        token = self.viewer.token
        if refused and token is not None and self.publisher is not None:
            runner = self.publisher.pk
            self.process.pipeline.phone_activity.record(token, runner, refused=refused)

    def count_accepted(self, fixes: int) -> None:
        """Count accepted fixes of a phone, and record them at intervals."""
        if fixes and self.viewer.token is not None:
            self._accepted += fixes
            self._accepted_at = now = now_ms()
            if now >= self._record_at:
                self._record_at = now + ACTIVITY_MS
                self._record_activity()

    def _record_activity(self) -> None:
        """Record the accepted fixes that were counted since the last record."""
        token, accepted = self.viewer.token, self._accepted
        if accepted and token is not None and self.publisher is not None:
            self._accepted = 0
            self.process.pipeline.phone_activity.record(
                token,
                self.publisher.pk,
                accepted=accepted,
                at=moment_of(self._accepted_at),
            )

    # -- tasks

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task beside the messages, for as long as the socket is open."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def backfill_later(self, runners: Collection[int], read_at: int) -> None:
        """Send positions accepted before a read and committed after it."""

        async def read_and_send() -> None:
            backfill = await read_again(
                lambda: self.process.runner_reads.stored_after(
                    self.followed.begins_of(runners), read_at
                )
            )
            # Some runners may have been unfollowed or hidden meanwhile.
            followed = set(self.followed.runners.values())
            late = backfill.late.items()
            self.outbox.send([frames for pk, frames in late if pk in followed])
            for position in backfill.newest_positions(self.process.hub):
                if position.event.runner in followed:
                    self.outbox.receive(position)

        self.start(read_and_send())

    def send_store_unavailable(self, command: Any = None) -> None:
        self.send_error(
            CodedError(
                "store.unavailable",
                "The database does not answer. Keep what you have and try again.",
                after=STORE_RETRY_MS,
            ),
            command,
        )


def failed() -> CodedError:
    """Return the error that clients get for an exception here."""
    return CodedError(
        "server.error", "The server failed to handle this. Nothing was changed."
    )
