"""The one way a position takes: who? sane? - then live, and stored.

    acceptor = get_acceptor()
    receipt = await acceptor.accept(runner, fixes, source="websocket")

Must run in the event loop that serves; belongs to it, as the relay does.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from runners import store
from runners.live.dialects import seed, v1
from runners.live.dialects.ids import WireId, wire_id_of
from runners.live.groups import (
    GAP,
    LATE,
    POSITION,
    RELAYS,
    RunnerEvent,
    runner_group,
)
from runners.live.outbox import now_ms
from runners.live.relay import Relay, get_relay
from runners.positions.fix import Fix, FixError, check
from runners.positions.recorder import Recorder, RecorderFull
from runners.positions.rules import Rules, read_rules, read_track
from runners.positions.writing import Row

logger = logging.getLogger(__name__)

# How long what is known of a runner is kept after their last fix. Seconds.
IDLE = 30.0


@dataclass(frozen=True, slots=True)
class Publisher:
    """A runner as those who publish need them: the primary key and the code."""

    pk: int
    code: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a publish: (index, code, detail) of each refused fix.

    `stored` is done after the commit, with how many the database refused; None when
    the recorder was full, and then nothing of it will be stored.
    """

    rejected: list[tuple[int, str, str]]
    accepted: int
    stored: asyncio.Future[int] | None


class Track:
    """What this process knows of a runner who publishes.

    It follows the runner's own group, so that a fix accepted by another process
    counts here too.
    """

    def __init__(self) -> None:
        self.latest = 0
        self.rules = Rules()
        self.used_at = 0.0
        self.ready: asyncio.Task[None] | None = None

    def receive(self, event: RunnerEvent) -> None:
        """Adopt the state that an event carries."""
        if event["type"] == POSITION and event["t"] > self.latest:
            self.latest = event["t"]


class Acceptor:
    """Accepts positions in one event loop."""

    def __init__(self, relay: Relay, recorder: Recorder) -> None:
        self.relay = relay
        self.recorder = recorder
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        # Events that no other process will hear of: the layer was away.
        self.unsent = 0
        self._unsent_since: int | None = None
        self._tracks: dict[int, Track] = {}
        # Grows when rules have changed.
        self._generation = 0
        self._sweeper = asyncio.create_task(self._sweep_often())

    async def accept(
        self,
        runner: Publisher,
        fixes: Sequence[Fix | FixError],
        *,
        source: str,
    ) -> Receipt:
        """Check fixes, show them to all who follow, and have them stored.

        The newest moves the marker if it is newer than all before; the others are
        late. Times that are stored already change nothing. Raises
        `store.StoreUnavailable` for the first fix of a runner whose rules cannot be
        read.
        """
        track = await self._track(runner.pk)
        rejected, valid = self._check(fixes, track.rules)
        # Of two with the same time the later one in the batch counts, once.
        by_time = {fix.t: fix for fix in valid}
        news = sorted(by_time.values(), key=lambda fix: fix.t)
        await self._show(runner, track, news, wire_id_of(runner.code))
        rows = [Row(runner.pk, fix, source) for fix in valid]
        try:
            stored = self.recorder.record(rows) if rows else _already()
        except RecorderFull:
            stored = None
        return Receipt(rejected, len(valid), stored)

    async def accept_live(
        self, runner: Publisher, fix: Fix, wire_id: WireId, *, timed: bool
    ) -> None:
        """Take one fix of the seed dialect, which has no acks; raises `FixError`.

        Without a time of its own (`timed`) it gets one at least 1 ms after the
        runner's last, so that two positions in a millisecond are two.
        """
        track = await self._track(runner.pk)
        now = now_ms()
        if not timed and fix.t <= track.latest:
            fix = fix._replace(t=track.latest + 1)
        try:
            check(fix, now)
            track.rules.check(fix)
        except FixError as error:
            self.refused[error.code] += 1
            raise
        self.accepted += 1
        await self._show(runner, track, (fix,), wire_id)
        self.recorder.record_unacked((Row(runner.pk, fix, "websocket"),))

    def refuse(self, error: FixError) -> None:
        """Count a fix that could not even be read."""
        self.refused[error.code] += 1

    def _check(
        self, fixes: Sequence[Fix | FixError], rules: Rules
    ) -> tuple[list[tuple[int, str, str]], list[Fix]]:
        rejected = []
        valid = []
        now = now_ms()
        for index, fix in enumerate(fixes):
            try:
                if isinstance(fix, FixError):
                    raise fix
                check(fix, now)
                rules.check(fix)
            except FixError as error:
                self.refused[error.code] += 1
                rejected.append((index, error.code, error.detail))
            else:
                valid.append(fix)
        self.accepted += len(valid)
        return rejected, valid

    async def _show(
        self, runner: Publisher, track: Track, fixes: Sequence[Fix], wire_id: WireId
    ) -> None:
        """Send fixes, oldest first, to the runner's group."""
        group = runner_group(runner.pk)
        events: list[tuple[str, RunnerEvent]] = []
        late: list[tuple[int, float, float]] = []
        newest = fixes[-1] if fixes else None
        for fix in fixes:
            moves = fix is newest and fix.t > track.latest
            if not moves:
                late.append((fix.t, fix.lat, fix.lng))
            if fix.t > track.latest:
                track.latest = fix.t
                events.append((group, _position(runner, fix, wire_id, moves=moves)))
        if late:
            frame = v1.late_frame(runner.code, late)
            event: RunnerEvent = {
                "type": LATE,
                "runner": runner.pk,
                "t": late[-1][0],
                "seed": b"",
                "v1": frame,
                "state": {},
            }
            events.append((group, event))
        if not events:
            return
        try:
            await self.relay.layer.group_send_many(events)
            if self._unsent_since is not None:
                since, self._unsent_since = self._unsent_since, None
                gap = {"type": GAP, "t": since, "state": {}}
                await self.relay.layer.group_send_many([(RELAYS, gap)])
        except Exception as error:
            # Away for now: what is accepted is stored all the same, and all relays
            # are told to read it once the layer is back.
            self.unsent += len(events)
            self._unsent_since = self._unsent_since or now_ms()
            logger.warning("The channel layer took no positions: %r", error)

    async def _track(self, pk: int) -> Track:
        """Return the runner's track, loaded and joined to their group."""
        track = self._tracks.get(pk)
        if track is None:
            track = self._tracks[pk] = Track()
            track.ready = asyncio.create_task(self._load(pk, track))
        track.used_at = self.relay.loop.time()
        if track.ready is not None:
            try:
                await asyncio.shield(track.ready)
            except store.StoreUnavailable:
                # Without the runner's zones and pauses nothing may be shown.
                if self._tracks.get(pk) is track:
                    del self._tracks[pk]
                    self.relay.unfollow((pk,), track)
                raise
        return track

    async def _load(self, pk: int, track: Track) -> None:
        await self.relay.follow((pk,), track)
        generation = None
        while generation != self._generation:
            # Again if rules were changed meanwhile: these may be the old ones.
            generation = self._generation
            latest, track.rules = await store.read(read_track, pk)
        track.latest = max(track.latest, latest)
        track.ready = None

    @property
    def tracked(self) -> list[int]:
        """Return the runners of whom something is known here."""
        return list(self._tracks)

    async def look_again(self, runners: Iterable[int]) -> None:
        """Read the rules of these runners again; raises `StoreUnavailable`."""
        self._generation += 1
        for pk in runners:
            track = self._tracks.get(pk)
            if track is not None:
                track.rules = await store.read(read_rules, pk)

    async def _sweep_often(self) -> None:
        while True:
            await asyncio.sleep(IDLE / 10)
            self.sweep()

    def sweep(self) -> None:
        """Forget the runners who have not published for `IDLE` seconds."""
        before = self.relay.loop.time() - IDLE
        for pk, track in list(self._tracks.items()):
            if track.used_at < before and track.ready is None:
                del self._tracks[pk]
                self.relay.unfollow((pk,), track)

    async def close(self) -> None:
        """Store what waits and stop."""
        self._sweeper.cancel()
        await asyncio.wait([self._sweeper])
        for pk, track in self._tracks.items():
            self.relay.unfollow((pk,), track)
        self._tracks.clear()
        await self.relay.loop.run_in_executor(None, self.recorder.stop)
        _acceptors.pop(self.relay.loop, None)


def _position(
    runner: Publisher, fix: Fix, wire_id: WireId, *, moves: bool
) -> RunnerEvent:
    """Encode a fix once for each dialect."""
    row = b""
    if moves:
        row = v1.position_row(
            runner.code, v1.fix_row(fix.t, fix.lat, fix.lng, fix.speed, fix.heading)
        )
    return {
        "type": POSITION,
        "runner": runner.pk,
        "t": fix.t,
        "seed": seed.position_frame(wire_id, fix.lat, fix.lng),
        "v1": row,
        "state": {},
    }


def _already() -> asyncio.Future[int]:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(0)
    return future


_acceptors: WeakKeyDictionary[asyncio.AbstractEventLoop, Acceptor] = WeakKeyDictionary()


def get_acceptor() -> Acceptor:
    """Return the acceptor of the running event loop, started at the first call."""
    loop = asyncio.get_running_loop()
    acceptor = _acceptors.get(loop)
    if acceptor is None:
        acceptor = _acceptors[loop] = Acceptor(get_relay(), Recorder())
    return acceptor
