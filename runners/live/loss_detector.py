"""How a hub notices that the channel layer lost something.

The layer delivers at most once and says nothing of what it drops. Each second a hub
sends itself a beat through each shard; one that does not come back, a connection that
is another, a count of drops that has grown: events since the last good beat may be
lost, and are in the database once a later beat has come back.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Collection

from runners.live.groups import BEAT, HUBS, RunnerEvent
from runners.live.layer import Layer
from runners.live.outbox import now_ms

# A beat that takes longer to come back is lost, or as good as. Milliseconds.
BEAT_LATE = 3_000
# How much of this process' own lag is kept each second, and by how many of these a beat
# may be later: it has to be sent, received and looked at.
OWN_LAG_KEPT, OWN_LAGS = 0.8, 4


class LossDetector:
    """What one hub may have missed. Times in milliseconds."""

    def __init__(self, layer: Layer) -> None:
        # Called with a time: events since then may be lost, of these runners or (None)
        # of all.
        self.on_gap: Callable[[int, Collection[int] | None], object] = _nothing
        # Runners whose group was joined only after a follow had gone on without it,
        # each with the time since when.
        self.joined_late: dict[int, int] = {}
        self.gaps = 0
        # How long the latest beat took through the layer. Seconds.
        self.layer_lag = 0.0
        self._layer = layer
        # When the newest beat that came back was sent, by group.
        self._beats: dict[str, int] = {}
        self._own_lag = 0.0
        self._signs: object = None
        self._whole_until = now_ms()
        self._lost_since: int | None = None
        self._noticed_at = 0

    @property
    def whole_until(self) -> int:
        """Return until when nothing is known to be lost."""
        if self._lost_since is None:
            return self._whole_until
        return min(self._whole_until, self._lost_since)

    def hear(self, beat: RunnerEvent) -> None:
        """Take a beat that came back."""
        self._beats[beat["state"]["group"]] = beat["t"]
        self.layer_lag = max(0, now_ms() - beat["t"]) / 1000

    def note_own_lag(self, seconds: float) -> None:
        """Note by how much this process' event loop was late."""
        self._own_lag = max(seconds, self._own_lag * OWN_LAG_KEPT)

    async def look(self, channel: str) -> None:
        """Notice what is lost, and send the next beats; raises what the layer does."""
        now = now_ms()
        if self.joined_late:
            late, self.joined_late = self.joined_late, {}
            self.on_gap(min(late.values()), list(late))
        if not self._beats:
            groups = self._layer.shard_groups(f"hub.{uuid.uuid4().hex}")
            for group in (*groups, HUBS):
                await self._layer.group_add(group, channel)
            self._beats = dict.fromkeys(groups, now)
        signs = self._layer.connections(), self._layer.dropped
        if signs != self._signs:
            if self._signs is not None:
                self.lose_since(self._whole_until)
            self._signs = signs
        oldest = min(self._beats.values())
        # Where this process is late itself, so is what it hears: nothing is lost.
        if now - oldest > BEAT_LATE + OWN_LAGS * 1000 * self._own_lag:
            self.lose_since(oldest)
        elif self._lost_since is None:
            self._whole_until = oldest
        elif oldest > self._noticed_at:
            # A beat sent since has come back: what was lost is in the database.
            self._close_gap(self._lost_since, oldest)
        await self._layer.group_send_many(
            [
                (group, {"type": BEAT, "t": now, "state": {"group": group}})
                for group in self._beats
            ]
        )

    def lose_since(self, t: int) -> None:
        """Note that events since a time may be lost."""
        self._noticed_at = now_ms()
        if self._lost_since is None or t < self._lost_since:
            self._lost_since = t

    def give_up_waiting(self) -> None:
        """Say now what is lost: this process will not hear that the layer is back."""
        if self._lost_since is not None:
            self._close_gap(self._lost_since, now_ms())

    async def leave(self, channel: str) -> None:
        """Beat no more."""
        for group in (*self._beats, HUBS) if self._beats else ():
            with contextlib.suppress(Exception):
                await self._layer.group_discard(group, channel)

    def _close_gap(self, since: int, until: int) -> None:
        self._lost_since = None
        self._whole_until = until
        self.gaps += 1
        self.on_gap(since, None)


def _nothing(since: int, runners: Collection[int] | None) -> None:
    pass
