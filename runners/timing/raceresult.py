"""RACE RESULT decoders: a client that asks for passings and changes no setting.

A decoder listens at port 3601. Commands and replies are lines that end with CRLF:

    PASSINGS        ->  PASSINGS;2;177          2 passings in file 177
    1:100           ->  1;50001;2024-01-12;09:06:35.944;…      a line per passing,
                                                               and an empty line

Times are local times, as set in the decoder. The sources are in docs/timing.md.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.utils import timezone

from runners import database
from runners.timing.reads import Read, moment_of_clock, read_of
from runners.timing.recorder import Recorder

logger = logging.getLogger(__name__)

PORT = 3601
EOL = b"\r\n"
# Passings per request.
AT_ONCE = 100
MAX_LINE_BYTES = 10_000
# The transponder of a passing that somebody triggered at the box.
MARKER = "99999"

# How often a decoder is asked for new passings.
POLL_S = 1.0
# How long a reply may take; the line to a box on a mobile network is slow.
REPLY_S = 20.0
# How long to wait before connecting again.
RECONNECT_S = 3.0

COUNT = re.compile(r"PASSINGS;([0-9]{1,9})(?:;([0-9]{1,9}))?")


class Count(NamedTuple):
    """How many passings the decoder has in its current file."""

    passings: int
    file: str


def count_of(line: str) -> Count | None:
    """Parse the reply to `PASSINGS`; return None for anything else."""
    found = COUNT.match(line)
    return Count(int(found[1]), found[2] or "") if found else None


def read_of_line(line: str, host: str, zone: ZoneInfo, now: datetime) -> Read:
    """Read a passing record of any protocol version.

    The station is the box's name, with the loop of an active system. Records before
    version 1.6 do not name the box: its address takes the place.
    """
    line = line.removeprefix("#P;")
    fields = line.split(";") + [""] * 20
    chip, day, clock = fields[1:4]
    station = fields[16] or fields[19] or host
    if fields[8] == "1" and fields[10]:
        station = f"{station} loop {fields[10]}"
    moment = _moment(day, clock, zone, now) if fields[0].isdecimal() else None
    if chip == MARKER:
        return read_of(station, line, time=moment, is_marker=True)
    return read_of(station, line, chip, moment)


def _moment(day: str, clock: str, zone: ZoneInfo, now: datetime) -> datetime | None:
    """Return the moment of `yyyy-MM-dd` and `hh:mm:ss.kkk`; None for anything else.

    Without GPS the day counts from 0000-00-00.
    """
    iso = "" if day.startswith("0000-") else day
    return moment_of_clock(iso, clock, zone, now)


# -- the connection


async def read_decoder(recorder: Recorder, host: str, port: int) -> None:
    """Read the passings of a decoder for ever; connect again when it goes away."""
    is_reported = False
    while True:
        try:
            async with asyncio.timeout(REPLY_S):
                reader, writer = await asyncio.open_connection(
                    host, port, limit=MAX_LINE_BYTES
                )
            logger.info("Connected to the decoder at %s:%d", host, port)
            is_reported = False
            try:
                await _poll_decoder(recorder, Decoder(reader, writer, host))
            finally:
                writer.close()
        except (OSError, EOFError, ValueError, database.DatabaseUnavailable) as error:
            # Once per outage.
            if not is_reported:
                logger.warning(
                    "The decoder at %s:%d cannot be read; trying again: %r",
                    *(host, port, error),
                )
            is_reported = True
        await asyncio.sleep(RECONNECT_S)


@dataclass(frozen=True)
class Decoder:
    """A connection to a RACE RESULT decoder."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str

    async def check_protocol(self) -> None:
        """Log the versions of the protocol that the decoder speaks."""
        await self._send("GETPROTOCOL")
        logger.info("%s: %s", self.host, await self._line())

    async def count(self) -> Count:
        """Return how many passings it has; other messages are ignored."""
        await self._send("PASSINGS")
        while (count := count_of(await self._line())) is None:
            pass
        return count

    async def passings(self, first: int, count: int) -> list[str]:
        """Return the records from a number on. An empty line ends them."""
        await self._send(f"{first}:{count}")
        lines = []
        while (line := await self._line()) and not line.startswith("ONLY "):
            lines.append(line)
        return lines

    async def _send(self, command: str) -> None:
        self.writer.write(command.encode() + EOL)
        await self.writer.drain()

    async def _line(self) -> str:
        """Return the next line. Raises OSError, EOFError, or ValueError if too long."""
        async with asyncio.timeout(REPLY_S):
            line = await self.reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError("the connection has ended")
        return line.decode("latin-1").strip()


async def _poll_decoder(recorder: Recorder, decoder: Decoder) -> None:
    await decoder.check_protocol()
    file, stored = None, 0
    while True:
        count = await decoder.count()
        if count.file != file or count.passings < stored:
            file = count.file
            stored = await _stored_of(recorder, decoder, count.passings)
        while stored < count.passings:
            missing = min(count.passings - stored, AT_ONCE)
            lines = await decoder.passings(stored + 1, missing)
            if not lines:
                break
            new = await recorder.store(_reads(recorder, decoder, lines))
            logger.info("%s: %d passings, %d new", decoder.host, len(lines), new)
            stored += len(lines)
        await asyncio.sleep(POLL_S)


async def _stored_of(recorder: Recorder, decoder: Decoder, passings: int) -> int:
    """Return how many of the passings in a decoder's file are stored, by bisection.

    They are stored in the order of their numbers. A record has its number and file or
    date: that of another file with the same number is not taken for it.
    """
    stored = 0
    while stored < passings:
        middle = (stored + passings + 1) // 2
        lines = await decoder.passings(middle, 1)
        if lines and await recorder.has(_reads(recorder, decoder, lines)[0]):
            stored = middle
        else:
            passings = middle - 1
    return stored


def _reads(recorder: Recorder, decoder: Decoder, lines: Sequence[str]) -> list[Read]:
    now = timezone.now()
    return [read_of_line(line, decoder.host, recorder.zone, now) for line in lines]
