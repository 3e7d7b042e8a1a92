"""Serves the connections of decoders: each read is stored before it is acknowledged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from django.utils import timezone

from runners import database
from runners.models import Passing, Race
from runners.timing import mylaps
from runners.timing.reads import Read
from runners.timing.storage import passings_store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recorder:
    """Stores the reads of one race's decoders of one kind."""

    race: int
    zone: ZoneInfo
    source: Passing.Source

    async def store(self, reads: Sequence[Read]) -> int:
        """Commit reads; return how many were new. Raises `DatabaseUnavailable`."""
        return await database.work(self._store, reads)

    def _store(self, reads: Sequence[Read]) -> int:
        # Read again, because an organiser may have changed the start.
        race = Race.objects.defer("line").get(pk=self.race)
        return passings_store(race=race, source=self.source, reads=reads)


async def serve_mylaps(
    recorder: Recorder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Serve a connection of Timing & Scoring until it ends.

    If the database is unavailable, the connection is closed without an
    acknowledgement; Timing & Scoring connects again and repeats the passings.
    """
    peer = writer.get_extra_info("peername")
    logger.info("Timing & Scoring has connected from %s", peer)
    try:
        while True:
            frame = await reader.readuntil(mylaps.END)
            message = mylaps.message_of(frame.removesuffix(mylaps.END))
            await _take(recorder, message)
            for answer in mylaps.answers_to(message):
                writer.write(answer.encode())
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        logger.info("Timing & Scoring at %s has disconnected", peer)
    except asyncio.LimitOverrunError:
        logger.warning("A message of %s has no end; the connection is closed", peer)
    except database.DatabaseUnavailable:
        logger.warning("Passings of %s were not stored; it will repeat them", peer)
    finally:
        writer.close()


async def _take(recorder: Recorder, message: mylaps.Message) -> None:
    if message.function in mylaps.DATA:
        reads = mylaps.reads_of(message, recorder.zone, timezone.now())
        new = await recorder.store(reads)
        logger.info("%s: %d passings, %d new", message.location, len(reads), new)
