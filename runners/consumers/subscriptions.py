"""The runners that a socket follows, and the rights it loses while it is open."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from channels.consumer import AsyncConsumer

from runners.consumers.errors import CommandError
from runners.live.close_codes import NO_LONGER_ALLOWED, NOT_SIGNED_IN, RECONNECT
from runners.live.encoding.frames import Frames
from runners.live.events import Event
from runners.live.hub import Hub
from runners.live.outbox import Outbox
from runners.live.socket_writer import SocketWriter
from runners.positions.track import Publisher
from runners.rights.access import AccessCheck, AccessDecision, Grant, Viewer
from runners.serving.process import Process
from runners.subscriptions.access_monitor import AccessMonitor
from runners.subscriptions.runner_reads import RunnerReads
from runners.units.clock import now_ms


class SubscriptionConsumer(AsyncConsumer):  # type: ignore[misc]
    """The part of a consumer that follows runners and applies access decisions."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.hub: Hub = process.hub
        self.writer: SocketWriter
        self.outbox: Outbox
        self.monitor: AccessMonitor = process.access_monitor
        self.runner_reads: RunnerReads = process.runner_reads
        self.viewer = Viewer()
        self.publisher: Publisher | None = None
        # Single runners followed: primary keys by code.
        self.following: dict[str, int] = {}
        # Followed runners who are not public. They are withheld while rights cannot be
        # read.
        self.personal: set[int] = set()
        self.withholding = False
        self.withheld_since = 0
        self.recheck_at = math.inf
        # Tasks that run while messages are handled.
        self.tasks: set[asyncio.Task[None]] = set()

    # -- subscriptions

    def recheck_if_changed(self, generation: int) -> None:
        """Request a check of rights that were read before the latest change."""
        if self.monitor.generation != generation:
            self.recheck_at = 0.0

    async def follow_granted(self, grants: Sequence[Grant], generation: int) -> None:
        """Follow runners that this socket may see, as read at a generation."""
        for grant in grants:
            self.following[grant.code] = grant.pk
            self.recheck_at = min(self.recheck_at, grant.until)
            if not grant.anybody:
                self.personal.add(grant.pk)
        self.recheck_if_changed(generation)
        await self.hub.subscribe([grant.pk for grant in grants], self.outbox)
        if self.monitor.withholding:
            self.withhold_private()

    def unfollow_runners(self, runners: Collection[int]) -> list[str]:
        """Stop following runners; return their codes."""
        codes = [code for code, pk in self.following.items() if pk in runners]
        for code in codes:
            pk = self.following.pop(code)
            self.personal.discard(pk)
            self.hub.unsubscribe((pk,), self.outbox)
            self.outbox.forget(pk)
        return codes

    # -- changed rights

    def apply_decision(self, check: AccessCheck, decision: AccessDecision) -> None:
        """End the subscriptions that are no longer allowed, and notify the client."""
        checked = check.viewer
        lost_links = set(checked.links) - decision.links
        if decision.moved and self.viewer.token == checked.token:
            detail = "The phone belongs to a different runner now. Reconnect."
            self.end("token.moved", detail, RECONNECT)
        elif not decision.token and self.viewer.token == checked.token:
            self.end("token.revoked", "The token has ended.", NOT_SIGNED_IN)
        elif not decision.session:
            self.end("session.ended", "You are signed out.", NOT_SIGNED_IN)
        elif lost_links and not (
            self.viewer.user or self.viewer.token or set(self.viewer.links) - lost_links
        ):
            self.end("share.ended", "This link has ended.", NO_LONGER_ALLOWED)
        else:
            links = tuple(pk for pk in self.viewer.links if pk not in lost_links)
            changed = (
                self.viewer != checked
                or check.following != frozenset(self.following.values())
                or check.races != self.races
            )
            self.viewer = replace(self.viewer, links=links)
            for pk, reason in decision.lost.items():
                for code in self.unfollow_runners({pk}):
                    self.send_access(reason, runner=code)
            for race, reason in decision.lost_races.items():
                self.drop_race(race, reason)
            for link in lost_links:
                self.drop_link(link)
            for grant in decision.grants:
                if grant.anybody:
                    self.personal.discard(grant.pk)
                elif grant.code in self.following:
                    self.personal.add(grant.pk)
            # Subscriptions added since the check have not been checked yet.
            self.recheck_at = 0.0 if changed else decision.recheck_at
            if self.withholding:
                self.withholding = False
                self.start(self.resume_private(self.withheld_since))

    async def resume_private(self, since: int) -> None:
        """Follow the runners again who were withheld while rights could not be read."""
        held_back = self.personal & set(self.following.values())
        await self.hub.subscribe(held_back, self.outbox)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task beside the messages, for as long as the socket is open."""
        task = self.hub.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def end(self, code: str, detail: str, close_code: int) -> None:
        """Close a socket that has lost its rights, after sending an error."""
        self.unfollow_runners(set(self.following.values()))
        self.publisher = None
        self.send_error(CommandError(code, detail))
        self.outbox.close(close_code)

    def withhold_private(self) -> None:
        """Stop sending runners who are not visible to everybody."""
        if not self.withholding:
            self.withheld_since = now_ms()
        self.withholding = True
        self.hub.unsubscribe(self.personal, self.outbox)
        for pk in self.personal:
            self.outbox.forget(pk)

    def erase(self, runner: int) -> None:
        """Discard queued positions of a runner who erased theirs."""
        if runner in self.following.values():
            self.outbox.forget(runner)

    def send_events(self, events: Sequence[Frames[Event]]) -> None:
        """Send events about a runner who is followed one by one."""
        self.outbox.send(events)

    @property
    def races(self) -> frozenset[int]:
        """Return the primary keys of the followed races."""
        return frozenset()

    def drop_race(self, race: int, reason: str) -> None:
        """Stop following a race, and notify the client (typed)."""

    def drop_link(self, link: int) -> None:
        """Unsubscribe the topics to which a share link gave access (typed)."""

    def send_access(self, reason: str, **what: str) -> None:
        """Notify the client that a runner or race cannot be seen any more (typed)."""

    def send_error(self, error: CommandError, command: Any = None) -> None:
        raise NotImplementedError
