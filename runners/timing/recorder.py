"""Stores the reads of connections, outside of the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from runners import database
from runners.models import Passing, Race
from runners.timing.reads import Read
from runners.timing.storage import passings_store


@dataclass(frozen=True)
class Recorder:
    """Stores the reads of one race's decoders of one kind."""

    race: int
    zone: ZoneInfo
    source: Passing.Source

    async def store(self, reads: Sequence[Read]) -> int:
        """Commit reads; return how many were new. Raises `DatabaseUnavailable`."""
        return await database.work(self._store, reads)

    async def has(self, read: Read) -> bool:
        """Return whether a line is stored. Raises `DatabaseUnavailable`."""
        lines = Passing.objects.filter(
            race=self.race, source=self.source, station__name=read.station
        )
        # The time is left out: that of a line without a date depends on the day.
        return await database.work(lines.filter(chip=read.chip, raw=read.raw).exists)

    def _store(self, reads: Sequence[Read]) -> int:
        # Read again, because an organiser may have changed the start.
        race = Race.objects.defer("line").filter(pk=self.race).first()
        if race is None:
            raise database.DatabaseUnavailable("The race was deleted.")
        return passings_store(race=race, source=self.source, reads=reads)
