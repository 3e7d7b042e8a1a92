"""Detects that the channel layer may have lost events.

The layer delivers at most once and does not report what it drops. Each second a hub
sends itself a probe through each shard. If a probe does not come back, a connection
was replaced or the count of drops has grown, then events since the last probe that
came back may be lost. They are in the database once a later probe has come back.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Collection

from runners.live.events import HUBS, Probe
from runners.live.layer import Layer
from runners.units.clock import now_ms

# A probe that takes longer counts as lost.
PROBE_TIMEOUT_MS = 3_000
# The share of the event loop's greatest lag that remains each second.
LOOP_LAG_DECAY = 0.8
# A probe may be later by this many times the loop's lag: it is sent, received and
# checked in passes of the same loop.
LOOP_LAG_ALLOWANCE = 4


class LossDetector:
    """Tracks since when one hub may lack events. Times in milliseconds."""

    def __init__(self, layer: Layer) -> None:
        # Called with a time and runners: their events since then may be lost. None
        # stands for all runners.
        self.on_loss: Callable[[int, Collection[int] | None], object] = _nothing
        # Runners whose group was joined after `subscribe` had timed out, each with the
        # time at which it was requested.
        self.joined_late: dict[int, int] = {}
        self.losses = 0
        # How long the latest probe took through the layer. Seconds.
        self.layer_lag = 0.0
        self._layer = layer
        # When the newest probe that came back was sent, by group.
        self._probes: dict[str, int] = {}
        self._loop_lag = 0.0
        self._health: object = None
        self._complete_until = now_ms()
        self._lost_since: int | None = None
        self._noticed_at = 0

    @property
    def complete_until(self) -> int:
        """Return the time up to which no event is known to be lost."""
        if self._lost_since is None:
            return self._complete_until
        return min(self._complete_until, self._lost_since)

    def receive_probe(self, probe: Probe) -> None:
        """Record a probe that came back."""
        self._probes[probe.group] = probe.t
        self.layer_lag = max(0, now_ms() - probe.t) / 1000

    def record_loop_lag(self, seconds: float) -> None:
        """Record by how much this process's event loop was late."""
        self._loop_lag = max(seconds, self._loop_lag * LOOP_LAG_DECAY)

    async def check(self, channel: str) -> None:
        """Check for losses and send the next probes; raises what the layer raises."""
        now = now_ms()
        if self.joined_late:
            late, self.joined_late = self.joined_late, {}
            self.on_loss(min(late.values()), list(late))
        if not self._probes:
            groups = self._layer.shard_groups(f"hub.{uuid.uuid4().hex}")
            for group in groups:
                await self._layer.group_add(group, channel)
            self._probes = dict.fromkeys(groups, now)
        health = self._layer.connections(), self._layer.dropped
        if health != self._health:
            if self._health is not None:
                self.report_loss(self._complete_until)
            self._health = health
        oldest = min(self._probes.values())
        # A late event loop also receives its probes late, which is not a loss.
        if now - oldest > PROBE_TIMEOUT_MS + LOOP_LAG_ALLOWANCE * 1000 * self._loop_lag:
            self.report_loss(oldest)
        elif self._lost_since is None:
            self._complete_until = oldest
        elif oldest > self._noticed_at:
            # A newer probe has arrived, so the lost events are in the database.
            self._close_gap(self._lost_since, oldest)
        await self._layer.group_send_many(
            [(group, Probe(group, now)) for group in self._probes]
        )

    def report_loss(self, t: int) -> None:
        """Record that events since a time may be lost."""
        self._noticed_at = now_ms()
        if self._lost_since is None or t < self._lost_since:
            self._lost_since = t

    def close_gap_now(self) -> None:
        """Report the current loss without waiting for the layer, before a shutdown."""
        if self._lost_since is not None:
            self._close_gap(self._lost_since, now_ms())

    async def leave_groups(self, channel: str) -> None:
        """Leave the groups of the probes."""
        for group in (*self._probes, HUBS):
            with contextlib.suppress(Exception):
                await self._layer.group_discard(group, channel)

    def _close_gap(self, since: int, until: int) -> None:
        self._lost_since = None
        self._complete_until = until
        self.losses += 1
        self.on_loss(since, None)


def _nothing(since: int, runners: Collection[int] | None) -> None:
    pass
