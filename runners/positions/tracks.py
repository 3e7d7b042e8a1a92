"""The tracks of the runners who publish to this process."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

from runners import database
from runners.live.hub import Hub
from runners.positions.privacy_rules import PrivacyRules, read_latest, read_rules
from runners.positions.running import Running, read_running
from runners.positions.track import Track
from runners.units.clock import now_ms

# How long a runner's track is kept after their last fix.
IDLE_S = 30.0


class Tracks:
    """Loads a track at its runner's first fix, and discards it when it is idle."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tracks: dict[int, Track] = {}
        # Incremented when rules change.
        self._generation = 0
        self._sweeper = asyncio.create_task(self._sweep_often())

    async def of(self, pk: int) -> Track:
        """Return the runner's track, loaded and, with other processes, subscribed."""
        track = self._tracks.get(pk)
        if track is None:
            track = self._tracks[pk] = Track()
            track.ready = asyncio.create_task(self._load(pk, track))
        track.used_at = self._hub.loop.time()
        if track.ready is None and track.running_until <= now_ms():
            track.ready = asyncio.create_task(self._load(pk, track))
        if track.ready is not None:
            try:
                await asyncio.shield(track.ready)
            except database.DatabaseUnavailable:
                # Nothing may be shown before the runner's zones and pauses are known.
                if self._tracks.get(pk) is track:
                    del self._tracks[pk]
                    self._hub.unsubscribe((pk,), track)
                raise
        return track

    def loaded(self, pk: int, t: int) -> Track | None:
        """Return the runner's track if it accepts fixes of this time by plain calls.

        None if `accept_live` has to wait: for the runner's rules, or for a layer that
        is not in this process.
        """
        track = self._tracks.get(pk)
        if track is None or track.ready is not None or track.running_until <= t:
            return None
        if not self._hub.layer.is_local:
            return None
        # A sweep may come before the fixes are accepted.
        track.used_at = self._hub.loop.time()
        return track

    async def _load(self, pk: int, track: Track) -> None:
        if not self._hub.layer.is_local:
            await self._hub.subscribe((pk,), track)
        generation = None
        while generation != self._generation:
            # Read again if something has changed meanwhile.
            generation = self._generation
            await self._read(pk, track)
        track.ready = None

    async def _read(self, pk: int, track: Track) -> None:
        latest, track.rules, running, until = await database.read(_read_track, pk)
        track.latest = max(track.latest, latest)
        if running is not None and track.running is not None:
            # The stored state may be older than the one in memory.
            running.adopt(track.running.carried())
        track.running, track.running_until = running, until
        track.late |= running is not None and running.replayed

    @property
    def runners(self) -> list[int]:
        """Return the primary keys of the runners with a track here."""
        return list(self._tracks)

    async def refresh(
        self, runners: Iterable[int], races: Collection[int] = ()
    ) -> None:
        """Reload the tracks of these runners, and of all in these races.

        Raises `DatabaseUnavailable`.
        """
        self._generation += 1
        racing = [
            pk
            for pk, track in self._tracks.items()
            if track.running is not None and track.running.engagement.race in races
        ]
        for pk in {*runners, *racing}:
            track = self._tracks.get(pk)
            if track is not None:
                await self._read(pk, track)

    async def _sweep_often(self) -> None:
        while True:
            await asyncio.sleep(IDLE_S / 10)
            self.sweep()

    def sweep(self) -> None:
        """Discard the tracks of runners who have not published for `IDLE_S`."""
        before = self._hub.loop.time() - IDLE_S
        for pk, track in list(self._tracks.items()):
            if track.used_at < before and not (track.ready or track.recompute_task):
                del self._tracks[pk]
                self._hub.unsubscribe((pk,), track)

    async def close(self) -> None:
        """Stop, without finishing the recomputations."""
        tasks = [track.recompute_task for track in self._tracks.values()]
        ending = [self._sweeper, *filter(None, tasks)]
        for task in ending:
            task.cancel()
        await asyncio.wait(ending)
        for pk, track in self._tracks.items():
            self._hub.unsubscribe((pk,), track)
        self._tracks.clear()


def _read_track(pk: int) -> tuple[int, PrivacyRules, Running | None, float]:
    return read_latest(pk), read_rules(pk), *read_running(pk)
