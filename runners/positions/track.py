"""The state of a runner who publishes, and the results of each batch of fixes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from django.conf import settings

from runners.live.encoding.frames import Frames
from runners.live.events import (
    FixHeld,
    LateFixes,
    PhoneChanged,
    PositionAccepted,
    RunnerEvent,
    StateCorrected,
    WireId,
)
from runners.positions.fix import Fix
from runners.positions.phone_status import PhoneStatus
from runners.positions.privacy_rules import PrivacyRules
from runners.positions.running import Running
from runners.positions.storage import Change, Row
from runners.races.progress import Seen, State
from runners.units.clock import now_ms

NOTHING_SEEN = Seen(None)
# Outside of a race. Not to be changed.
NO_STATE: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Publisher:
    """A runner who publishes: the primary key and the code."""

    pk: int
    code: str


class RaceStep(NamedTuple):
    """A runner's race, and its state before and after a fix."""

    running: Running
    before: State
    after: State


class Step(NamedTuple):
    """A fix newer than all before it, with its results."""

    fix: Fix
    seen: Seen = NOTHING_SEEN
    held: bool = False
    race: RaceStep | None = None


# A fix that is shown, and whether it is newer than all before it.
Shown = tuple[Fix, Seen, bool]


class Track:
    """This process's state of a runner who publishes.

    With a layer of several processes it subscribes to the runner's group, to include
    the fixes that others accept.
    Times are in milliseconds.
    """

    def __init__(self) -> None:
        self.latest = 0
        self.rules = PrivacyRules()
        # The runner's present race, if any, and the time to read the next one.
        self.running: Running | None = None
        self.running_until = math.inf
        # Whether late fixes of the race have arrived, and the fixes that arrived during
        # the recomputation.
        self.late = False
        self.meanwhile: list[Fix] | None = None
        self.recompute_task: asyncio.Task[None] | None = None
        self.phone = PhoneStatus()
        self.used_at = 0.0
        self.ready: asyncio.Task[None] | None = None

    def receive(self, frames: Frames[RunnerEvent]) -> None:
        """Adopt the state in an event, which a different process may have emitted."""
        event = frames.event
        if type(event) is PositionAccepted:
            self.latest = max(self.latest, event.t)
        elif type(event) is not FixHeld and type(event) is not StateCorrected:
            return
        if self.running is not None and event.state:
            corrects = type(event) is StateCorrected
            self.running.adopt(event.state, corrects=corrects)

    @property
    def newest(self) -> int:
        """Return the time of the newest fix, shown or held."""
        running = self.running
        return self.latest if running is None else max(self.latest, running.state.t)

    def running_at(self, t: int) -> Running | None:
        """Return the race that a fix of this time belongs to."""
        running = self.running
        if running is None or not running.engagement.is_on(t):
            return None
        return running

    # One batch of fixes, in this order.

    def advance(self, fixes: Iterable[Fix]) -> tuple[list[Step], list[Fix]]:
        """Advance by each fix that is newer than all before; return the others as late.

        Marks the track for recomputation if fixes of the race are late.
        """
        steps, late = [], []
        for fix in fixes:
            running = self.running_at(fix.t)
            if fix.t > self.newest:
                steps.append(self._step(fix, running))
            else:
                late.append(fix)
                self.late |= running is not None
        return steps, late

    def _step(self, fix: Fix, running: Running | None) -> Step:
        if self.meanwhile is not None:
            self.meanwhile.append(fix)
        if running is None:
            self.latest = fix.t
            return Step(fix)
        before = running.state
        seen = running.advance(fix)
        # In open mode anybody may publish as anybody, so no fix is implausible.
        held = seen.held and not settings.SPECTATE_OPEN
        if not held:
            self.latest = fix.t
        return Step(fix, seen, held, RaceStep(running, before, running.state))

    def events(
        self,
        runner: Publisher,
        steps: Sequence[Step],
        late: Sequence[Fix],
        *,
        wire_id: WireId | None = None,
        live: bool = False,
    ) -> list[RunnerEvent]:
        """Return what to emit: positions, late fixes, then what they mean.

        With `live`, each position moves the marker, otherwise the newest one does.
        """
        shown = _shown(steps)
        if self.rules.race_from:
            shown, late = self._visible(shown, late)
        race = steps[-1].race if steps else None
        state = NO_STATE if race is None else race.running.carried()
        points = [(fix.t, fix.lat, fix.lng) for fix in late] if late else []
        events: list[RunnerEvent] = []
        last = len(shown) - 1
        for number, (fix, seen, is_new) in enumerate(shown):
            moves = number == last or (live and is_new)
            if not moves:
                points.append((fix.t, fix.lat, fix.lng))
            carried = state if number == last else NO_STATE
            events.append(_position(runner, fix, seen, wire_id, moves, carried))
        if points:
            events.append(LateFixes(runner.pk, runner.code, sorted(points)))
        if state and not shown:
            events.append(FixHeld(runner.pk, state))
        for step in steps:
            if step.race is not None:
                running, before, after = step.race
                events += running.events(
                    *(runner.pk, runner.code, before, after, step.seen.splits)
                )
        if shown and self.phone.is_news(newest := shown[-1][0]):
            accuracy, battery = newest.accuracy, newest.battery
            events.append(
                PhoneChanged(runner.pk, runner.code, accuracy, battery, now_ms())
            )
        return events

    def _visible(
        self, shown: list[Shown], late: Sequence[Fix]
    ) -> tuple[list[Shown], Sequence[Fix]]:
        """Omit fixes that are too old for everybody who sees the runner."""
        begin = self.rules.shown_from(now_ms())
        return (
            [each for each in shown if each[0].t >= begin],
            [fix for fix in late if fix.t >= begin],
        )


def _shown(steps: Iterable[Step]) -> list[Shown]:
    """Return the fixes to show: with each step, those that it confirms."""
    shown: list[Shown] = []
    for step in steps:
        # In open mode they have been shown already.
        if step.seen.confirmed and not settings.SPECTATE_OPEN:
            for old in step.seen.confirmed:
                confirmed = Fix(old.t, old.lat, old.lng)
                shown.append((confirmed, Seen(old.progress), False))
        if not step.held:
            shown.append((step.fix, step.seen, True))
    return shown


def _position(
    runner: Publisher,
    fix: Fix,
    seen: Seen,
    wire_id: WireId | None,
    moves: bool,
    state: dict[str, Any],
) -> PositionAccepted:
    # Positional arguments, because this is called for each fix.
    return PositionAccepted(
        runner.pk,
        runner.code,
        fix.t,
        fix.lat,
        fix.lng,
        fix.speed,
        fix.heading,
        seen.progress,
        seen.uncertainty,
        wire_id,
        moves,
        state,
    )


def rows_of(
    runner: Publisher, steps: Sequence[Step], late: Sequence[Fix], source: str
) -> list[Row]:
    """Return the rows of a batch; that of the newest shown fix has the race state."""
    rows = [Row(runner.pk, fix, source) for fix in late] if late else []
    newest = -1
    for step in steps:
        if not step.held:
            newest = len(rows)
        rows.append(Row(runner.pk, step.fix, source, step.seen.progress, step.held))
    race = steps[-1].race if steps else None
    if race is not None and _shown(steps):
        state = msgspec.json.encode(race.running.carried()).decode()
        rows[newest] = rows[newest]._replace(state=state)
    return rows


def changes_of(runner: Publisher, steps: Iterable[Step]) -> list[Change]:
    """Return the changes of a batch in the race."""
    changes: list[Change] = []
    for step in steps:
        if step.race is not None:
            running, before, after = step.race
            changes += running.changes(runner.pk, before, after, step.seen)
    return changes
