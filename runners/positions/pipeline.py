"""The pipeline of every position: check, advance, emit, enqueue.

    receipt = await pipeline.accept(runner, fixes, source="websocket")

The pipeline belongs to the event loop of the server, like the hub.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from runners import database
from runners.live.events import RunnerEvent, StateCorrected, StatusChanged, WireId
from runners.live.hub import Hub
from runners.positions.fix import Fix
from runners.positions.phone_activity import PhoneActivityLog
from runners.positions.privacy_rules import PrivacyRules
from runners.positions.recompute import recompute
from runners.positions.recorder import Recorder, RecorderFull
from runners.positions.running import Running, stored_status
from runners.positions.storage import Change, Row, StateChange, StatusChange
from runners.positions.track import Publisher, Track, changes_of, rows_of
from runners.positions.tracks import Tracks
from runners.positions.validation import FixError, check_fix
from runners.units.clock import now_ms

logger = logging.getLogger(__name__)

# How long to wait for more late fixes of a race, which come in batches.
RECOMPUTE_AFTER_S = 2.0
# Limit of the last notice to the hubs at a stop.
NOTIFY_TIMEOUT_S = 1.0
# The source of positions from a socket.
SOCKET = "websocket"


class Soon(NamedTuple):
    """Fixes of the seed dialect for `accept_soon`, as `accept_live` takes them.

    More may be appended until they are accepted and the list is empty. Then `accepted`
    is called with the number of accepted fixes, and `refuse` with the error of each
    other.
    """

    runner: Publisher
    track: Track
    fixes: list[tuple[Fix, bool]]
    wire_id: WireId
    accepted: Callable[[int], None]
    refuse: Callable[[Exception], None]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of a publication. `rejected`: (index, code, detail) of refused fixes.

    `stored` is done after the commit, with the number that the database refused; None
    if the recorder was full, and nothing will be stored.
    """

    rejected: list[tuple[int, str, str]]
    accepted: int
    stored: asyncio.Future[int] | None


class Pipeline:
    """Accepts positions in one event loop."""

    def __init__(self, hub: Hub, recorder: Recorder) -> None:
        self.hub = hub
        self.recorder = recorder
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        # The last requests of phones.
        self.phone_activity = PhoneActivityLog()
        # Events that other processes did not receive because the layer was unavailable.
        self.unsent = 0
        # Time (ms) since which hubs may lack events without knowing it.
        self._lost_since: int | None = None
        self._notifying: asyncio.Task[None] | None = None
        recorder.on_late_commit = self._on_late_commit
        self.tracks = Tracks(hub)
        self._soon: list[Soon] = []

    async def accept(
        self,
        runner: Publisher,
        fixes: Sequence[Fix | FixError],
        *,
        source: str,
    ) -> Receipt:
        """Check fixes, advance by them, emit what they mean and enqueue them.

        The newest fix moves the marker if it is newer than all before it; the others
        are late. Fixes whose times are stored already change nothing. Raises
        `DatabaseUnavailable` for a runner's first fix if their rules cannot be read.
        """
        track = await self.tracks.of(runner.pk)
        accepted_at = time.monotonic()
        rejected, valid = self._check(fixes, track.rules)
        # Of two fixes with the same time, the later one in the batch is kept.
        by_time = {fix.t: fix for fix in valid}
        news = sorted(by_time.values(), key=lambda fix: fix.t)
        steps, late = track.advance(news)
        await self._emit(track.events(runner, steps, late))
        self._schedule_recompute(runner, track)
        stored = self._enqueue(
            rows_of(runner, steps, late, source),
            changes_of(runner, steps),
            accepted_at,
        )
        return Receipt(rejected, len(valid), stored)

    async def accept_live(
        self, runner: Publisher, fixes: Sequence[tuple[Fix, bool]], wire_id: WireId
    ) -> list[FixError]:
        """Accept fixes of the seed dialect, which has no acks, in the order of arrival.

        Each has a flag whether its time is the phone's own. The server's times are at
        least 1 ms after the runner's last, so that two positions within a millisecond
        are distinct. Returns the errors of refused fixes. Raises
        `database.DatabaseUnavailable`.
        """
        self.accept_waiting()
        track = await self.tracks.of(runner.pk)
        accepted_at = time.monotonic()
        refused, valid = self._check_live(track, fixes, now_ms())
        steps, late = track.advance(valid)
        await self._emit(track.events(runner, steps, late, wire_id=wire_id, live=True))
        self._schedule_recompute(runner, track)
        self.recorder.record_unacked(
            rows_of(runner, steps, late, SOCKET),
            changes_of(runner, steps),
            accepted_at,
        )
        return refused

    def accept_soon(self, fixes: Soon) -> None:
        """Accept fixes in the next pass of the loop, with those of other sockets."""
        if not self._soon:
            self.hub.loop.call_soon(self.accept_waiting)
        self._soon.append(fixes)

    def accept_waiting(self) -> None:
        """Accept the fixes of `accept_soon` now, each as `accept_live` does."""
        soon, self._soon = self._soon, []
        accepted_at, now = time.monotonic(), now_ms()
        rows: list[Row] = []
        changes: list[Change] = []
        for each in soon:
            errors: Sequence[Exception]
            try:
                errors = self._accept_one(each, now, rows, changes)
            except Exception as error:
                # An error of one runner must not lose the fixes of others.
                errors = [error] * len(each.fixes)
            each.accepted(len(each.fixes) - len(errors))
            each.fixes.clear()
            if errors:
                _refuse_all(errors, each.refuse)
        if rows:
            self.recorder.record_unacked(rows, changes, accepted_at)

    def _accept_one(
        self, soon: Soon, now: int, rows: list[Row], changes: list[Change]
    ) -> Sequence[FixError]:
        """Accept fixes of one socket, and return the errors of those refused."""
        runner, track, fixes, wire_id, _, _ = soon
        refused, valid = self._check_live(track, fixes, now)
        steps, late = track.advance(valid)
        rows += rows_of(runner, steps, late, SOCKET)
        changes += changes_of(runner, steps)
        try:
            for event in track.events(runner, steps, late, wire_id=wire_id, live=True):
                self.hub.deliver_local(event)
        except Exception:
            # The fixes are accepted in any case, so they are not refused for this.
            logger.exception("Positions were not sent to all followers")
        self._schedule_recompute(runner, track)
        return refused

    def refuse(self, error: FixError) -> None:
        """Count a refused fix."""
        self.refused[error.code] += 1

    def _check_live(
        self, track: Track, fixes: Iterable[tuple[Fix, bool]], now: int
    ) -> tuple[list[FixError], list[Fix]]:
        """Return the errors of refused fixes, and the others with distinct times."""
        newest = track.newest
        refused, valid = [], []
        for fix, timed in fixes:
            if not timed and fix.t <= newest:
                fix = replace(fix, t=newest + 1)
            if error := self._error_of(fix, track.rules, now):
                refused.append(error)
            else:
                valid.append(fix)
                newest = max(newest, fix.t)
        self.accepted += len(valid)
        return refused, valid

    def _check(
        self, fixes: Sequence[Fix | FixError], rules: PrivacyRules
    ) -> tuple[list[tuple[int, str, str]], list[Fix]]:
        rejected = []
        valid = []
        now = now_ms()
        for index, fix in enumerate(fixes):
            if isinstance(fix, FixError):
                self.refuse(fix)
                rejected.append((index, fix.code, fix.detail))
            elif error := self._error_of(fix, rules, now):
                rejected.append((index, error.code, error.detail))
            else:
                valid.append(fix)
        self.accepted += len(valid)
        return rejected, valid

    def _error_of(self, fix: Fix, rules: PrivacyRules, now: int) -> FixError | None:
        """Return why a fix is refused, and count it."""
        try:
            check_fix(fix, now)
            rules.check(fix)
        except FixError as error:
            self.refuse(error)
            return error
        return None

    def _enqueue(
        self, rows: Sequence[Row], changes: Sequence[Change], accepted_at: float
    ) -> asyncio.Future[int] | None:
        """Queue what is to be stored; return None if the recorder is full."""
        try:
            return self.recorder.record(rows, changes, accepted_at) if rows else _done()
        except RecorderFull:
            return None

    async def _emit(self, events: Sequence[RunnerEvent]) -> None:
        """Send events to their runners' groups, in order."""
        if not events:
            return
        try:
            await self.hub.publish(events)
        except Exception as error:
            # Accepted fixes are stored in any case. All hubs are notified to read them
            # once the layer is available.
            self.unsent += len(events)
            if self._lost_since is None:
                # Logged once per outage, in which every publication fails.
                logger.warning(
                    "The channel layer does not accept positions; "
                    "followers get them from the database: %r",
                    error,
                )
            self._record_lost_since(now_ms())
        else:
            if self._lost_since is not None:
                await self._notify_hubs()

    def _on_late_commit(self, since: int) -> None:
        """Make all hubs read late commits. Called in the recorder's thread.

        Clients that started to follow in the meantime may have read the database too
        early.
        """
        with contextlib.suppress(RuntimeError):  # The event loop is closed.
            self.hub.loop.call_soon_threadsafe(self._report_late, since)

    def _report_late(self, since: int) -> None:
        self._record_lost_since(since)
        self._notifying = asyncio.create_task(self._notify_hubs())

    def _record_lost_since(self, t: int) -> None:
        self._lost_since = min(t, self._lost_since or t)

    async def _notify_hubs(self) -> None:
        """Notify hubs of the time since which they may lack events."""
        since, self._lost_since = self._lost_since, None
        if since is None:
            return
        try:
            await self.hub.publish_loss(since)
        except Exception as error:
            self._record_lost_since(since)
            logger.warning(
                "The channel layer did not accept the notice of a gap: %r", error
            )

    async def notified(self) -> None:
        """Wait until hubs are notified of the recorder's last commits."""
        if self._notifying is not None:
            await asyncio.wait([self._notifying], timeout=NOTIFY_TIMEOUT_S)

    # -- late fixes of a race

    def _schedule_recompute(self, runner: Publisher, track: Track) -> None:
        """Recompute the race after a delay, with all late fixes until then."""
        if track.late and track.recompute_task is None:
            track.recompute_task = asyncio.create_task(
                self._recompute_late(runner, track)
            )

    async def _recompute_late(self, runner: Publisher, track: Track) -> None:
        try:
            while track.late:
                await asyncio.sleep(RECOMPUTE_AFTER_S)
                track.late = False
                await self.recorder.flushed()
                if track.running is not None:
                    await self._recompute(runner, track, track.running)
        finally:
            track.recompute_task = None

    async def _recompute(
        self, runner: Publisher, track: Track, running: Running
    ) -> None:
        before, track.meanwhile = running.state, []
        try:
            recomputed = await database.work(
                recompute, runner.pk, running.engagement, running.replayed
            )
        except database.DatabaseUnavailable:
            track.late = True
            return
        finally:
            meanwhile, track.meanwhile = track.meanwhile, None
        current = track.running
        if recomputed is None or current is None or not current.continues(running):
            return
        # A change of rights has read the race again meanwhile.
        current.replayed |= running.replayed
        running = current
        state = recomputed.state
        for fix in meanwhile or ():
            if fix.t > state.t:
                state, _ = running.engagement.guide.advance(state, fix)
        events: list[RunnerEvent] = []
        stored = _done()
        if state.t >= running.state.t:
            running.state = state
            # For the next fix, of any process and after a restart.
            carried = running.carried()
            encoded = msgspec.json.encode(carried).decode()
            changes: list[Change] = [StateChange(runner.pk, state.t, encoded)]
            if meanwhile:
                # They may have changed the status, which the replay has replaced.
                status = stored_status(state)
                changes.append(StatusChange(running.engagement.entry, *status))
            stored = self.recorder.record((), changes)
            events.append(StateCorrected(runner.pk, carried))
        events += running.events(
            *(runner.pk, runner.code, before, running.state, recomputed.splits),
            corrected=True,
            gone=recomputed.gone,
        )
        if running.replayed:
            # The state of a replay was not sent.
            now = running.state.status
            events.append(StatusChanged(runner.pk, runner.code, now, now_ms()))
            running.replayed = False
        await self._emit(events)
        await stored

    async def close(self) -> None:
        """Stop. The recorder still stores the queued fixes."""
        self.accept_waiting()
        await self.phone_activity.close()
        await self.tracks.close()


def _refuse_all(
    errors: Iterable[Exception], refuse: Callable[[Exception], None]
) -> None:
    try:
        for error in errors:
            refuse(error)
    except Exception:
        # An error of one socket must not lose the fixes of others.
        logger.exception("The errors of refused positions were not sent")


def _done() -> asyncio.Future[int]:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(0)
    return future
