"""Backfill of positions missed while away or joining, or because events were lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, QuerySet

from runners import database
from runners.live.encoding.frames import Frames
from runners.live.events import LateFixes, PositionAccepted
from runners.live.hub import Hub
from runners.models import Position
from runners.models.race import LONG_AGO
from runners.positions.recorder import LATE_S
from runners.rights.windows import public_from
from runners.units.clock import milliseconds, moment_of, now_ms

logger = logging.getLogger(__name__)

# `stored_at` is set before the commit, by the clock of any process. So reads begin this
# much before the client's `since`.
MARGIN_S = 10.0
# A fix is committed within this time of its acceptance, before which it is sent to its
# followers. Of a later commit its recorder notifies all hubs, which read it then.
COMMIT_DELAY_S = LATE_S
# Limits of backfilled fixes, of one runner and of all together. A client fetches the
# tracks of runners with more.
RUNNER_LIMIT = 1_000
LIMIT = 20_000
# The time over which backfill after a loss is spread.
SPREAD_S = 3.0
RUNNERS_PER_BATCH = 50
# Runners whose backfill is sent before other tasks run. A socket gets them in one
# write.
RUNNERS_PER_PASS = 10
# Limit of lost periods kept for clients who were disconnected during one.
LOSS_LIMIT = 100

Row = tuple[int, float, float, float | None, float | None, float | None]


@dataclass
class Backfill:
    """Fixes by runner: (t, lat, lng, speed, heading, progress), oldest first."""

    codes: dict[int, str] = field(default_factory=dict)
    rows: dict[int, list[Row]] = field(default_factory=dict)
    # All fixes of each runner, encoded once for all recipients.
    late: dict[int, Frames[LateFixes]] = field(default_factory=dict)
    # The newest position of a runner, if it is among these. Otherwise all are late.
    newest: dict[int, Row] = field(default_factory=dict)
    # Codes of the runners with too many fixes.
    truncated: dict[int, str] = field(default_factory=dict)

    def without(self, runners: Collection[int]) -> Backfill:
        """Return a copy without these runners."""
        codes = {pk: code for pk, code in self.codes.items() if pk not in runners}
        return Backfill(
            codes,
            {pk: rows for pk, rows in self.rows.items() if pk not in runners},
            {pk: late for pk, late in self.late.items() if pk not in runners},
            {pk: row for pk, row in self.newest.items() if pk not in runners},
            {pk: code for pk, code in self.truncated.items() if pk not in runners},
        )

    def add(self, other: Backfill) -> None:
        """Add the fixes of other runners."""
        self.codes |= other.codes
        self.rows |= other.rows
        self.late |= other.late
        self.newest |= other.newest

    def since(self, pk: int, begin: int) -> Backfill:
        """Return one runner's part without the fixes before a time (milliseconds)."""
        rows = self.rows[pk]
        part = Backfill({pk: self.codes[pk]}, {pk: rows}, {pk: self.late[pk]})
        if rows[0][0] < begin:
            part.rows[pk] = rows = [row for row in rows if row[0] >= begin]
            part.late[pk] = Frames(self.late[pk].event.since(begin))
        if not rows:
            return Backfill()
        if pk in self.newest:
            part.newest[pk] = self.newest[pk]
        return part

    def newest_positions(self, hub: Hub) -> Iterator[Frames[PositionAccepted]]:
        """Return each runner's newest position.

        Leaves out runners with a newer position that the hub has dispatched: it may
        still be queued in an outbox, and a marker never moves back.
        """
        dispatched = hub.newest(self.newest)
        for pk, row in self.newest.items():
            if row[0] >= dispatched[pk]:
                yield Frames(_position(pk, self.codes[pk], row))


def stored_since(
    runners: Collection[int],
    since: int,
    runner_limit: float = RUNNER_LIMIT,
    limit: float = LIMIT,
    margin: float = MARGIN_S,
    begins: Mapping[int, datetime] | None = None,
) -> Backfill:
    """Read fixes of runners stored since a time (milliseconds), less a margin.

    Fixes from before `begins` (by default what everybody sees) are left out. Causes two
    queries, without `begins` four.
    """
    moment = moment_of(since) - timedelta(seconds=margin)
    positions = Position.objects.filter(
        runner__in=list(runners), stored_at__gte=moment, held=False
    ).order_by()
    backfill = Backfill()
    # Read before the fixes, so that a newer one committed meanwhile is included.
    latest_at = _choose_runners(backfill, positions, runner_limit, limit)
    if begins is None:
        begins = public_from(backfill.codes)
    _read_rows(backfill, positions, begins)
    for pk, rows in backfill.rows.items():
        late = Frames(LateFixes(pk, backfill.codes[pk], [row[:3] for row in rows]))
        # Encoded in this thread, because the frames may have thousands of fixes.
        late.for_typed()
        backfill.late[pk] = late
        if rows[-1][0] >= milliseconds(latest_at[pk]):
            backfill.newest[pk] = rows[-1]
    return backfill


def _choose_runners(
    backfill: Backfill, positions: QuerySet[Position], runner_limit: float, limit: float
) -> dict[int, datetime]:
    """Add the runners who are within the limits; return the times of newest fixes."""
    counts = positions.values_list(
        "runner", "runner__code", "runner__latest__recorded_at"
    ).annotate(n=Count("pk"))
    total = 0
    latest_at: dict[int, datetime] = {}
    for pk, code, latest, count in counts:
        latest_at[pk] = latest or LONG_AGO
        if count > runner_limit or total + count > limit:
            backfill.truncated[pk] = code
        else:
            total += count
            backfill.codes[pk] = code
    return latest_at


def _read_rows(
    backfill: Backfill, positions: QuerySet[Position], begins: Mapping[int, datetime]
) -> None:
    fixes = (
        positions.filter(runner__in=list(backfill.codes))
        .order_by("recorded_at")
        .values_list(
            *("runner", "recorded_at", "lat", "lng", "speed", "heading", "progress")
        )
    )
    for pk, recorded_at, lat, lng, speed, heading, progress in fixes.iterator():
        if recorded_at >= begins.get(pk, LONG_AGO):
            row = (milliseconds(recorded_at), lat, lng, speed, heading, progress)
            backfill.rows.setdefault(pk, []).append(row)


def stored_after(runners: Collection[int], read_at: int) -> Backfill:
    """Read fixes committed since a read at a time (milliseconds).

    There is no limit because the time is short, and clients would not be notified of
    omitted fixes.
    """
    return stored_since(runners, read_at, math.inf, math.inf, COMMIT_DELAY_S)


async def read_again(read: Callable[[], Awaitable[Backfill]]) -> Backfill:
    """Read what was accepted before now and committed after an earlier read."""
    while True:
        await asyncio.sleep(COMMIT_DELAY_S)
        with contextlib.suppress(database.DatabaseUnavailable):
            return await read()


@dataclass
class Loss:
    """A period in which events were lost. `until` is the end of their backfill.

    Both in milliseconds.
    """

    since: int
    until: float = math.inf


class Backfiller:
    """Backfills the followers of one event loop after a loss."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.losses: deque[Loss] = deque(maxlen=LOSS_LIMIT)
        self._tasks: set[asyncio.Task[None]] = set()
        # One backfill of all runners runs at a time. Losses meanwhile cause one more,
        # so that slow clients are not sent several.
        self._turn = asyncio.Lock()
        self._next: Loss | None = None
        self._hurry = asyncio.Event()
        hub.loss_detector.on_loss = self.schedule

    def schedule(self, since: int, runners: Collection[int] | None = None) -> None:
        """Read fixes stored since a time, and send them to the followers.

        `runners`: the runners concerned, or None for all who are followed.
        """
        # A slow commit affects few runners, an unavailable channel layer affects all.
        logger.log(
            logging.WARNING if runners is None else logging.INFO,
            "Followers of %s may have missed events of the last %.1f s; sending "
            "these from the database",
            "everybody" if runners is None else f"{len(runners)} runners",
            (now_ms() - since) / 1000,
        )
        if runners is None and self._next is not None:
            self._next.since = min(since, self._next.since)
            return
        loss = Loss(since)
        self.losses.append(loss)
        if runners is None:
            self._next = loss
            work = self._backfill_in_turn(loss)
        else:
            work = self._backfill(loss, runners)
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def flush(self, seconds: float) -> None:
        """Finish all backfills without pauses, within a number of seconds."""
        self._hurry.set()
        self.hub.loss_detector.close_gap_now()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    def complete_before(self, t: int) -> int:
        """Return the time since which a client connected until `t` may lack events.

        That is `t`, or the start of a lost span that had not been backfilled by then.
        Milliseconds. Views call it in threads.
        """
        # The client may come from a process that took longer to backfill.
        late = t - MARGIN_S * 1000
        losses = list(self.losses)
        sinces = [
            loss.since for loss in losses if loss.since <= t and late < loss.until
        ]
        return min([t, self.hub.loss_detector.complete_until, *sinces])

    async def _backfill_in_turn(self, loss: Loss) -> None:
        async with self._turn:
            self._next = None
            await self._backfill(loss, None)

    async def _backfill(self, loss: Loss, concerned: Collection[int] | None) -> None:
        await self._pause(COMMIT_DELAY_S)
        runners = self.hub.followed if concerned is None else list(concerned)
        pieces = [
            runners[start : start + RUNNERS_PER_BATCH]
            for start in range(0, len(runners), RUNNERS_PER_BATCH)
        ]
        for piece in pieces:
            backfill = await self._read(piece, loss.since)
            for number, pk in enumerate(backfill.rows, 1):
                newest = backfill.newest.get(pk)
                self.hub.deliver_backfill(
                    pk,
                    backfill.late[pk],
                    newest and _position(pk, backfill.codes[pk], newest),
                )
                # Each runner is written to all their followers.
                if number % RUNNERS_PER_PASS == 0:
                    await asyncio.sleep(0)
            await self._pause(SPREAD_S / len(pieces))
        loss.until = now_ms()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _read(self, runners: list[int], since: int) -> Backfill:
        while True:
            try:
                return await database.read(
                    stored_since, runners, since, math.inf, math.inf
                )
            except database.DatabaseUnavailable:
                await asyncio.sleep(COMMIT_DELAY_S)


def _position(pk: int, code: str, row: Row) -> PositionAccepted:
    return PositionAccepted(pk, code, *row)
