"""MYLAPS Timing & Scoring, protocol version 2: its exporter connects and sends.

Messages end with `$`, their fields with `@`: the name of the location, the function,
its data, and a number that the acknowledgement repeats.

    10KM@Passing@t=13:11:30.904|c=0000041|d=120606@t=…|c=…|d=…@1016@$
    Spectate@AckPassing@1016@$

Times are local times of the race. The sources are in docs/timing.md.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.utils import timezone

from runners import database
from runners.timing.reads import Read, moment_of_clock, read_of
from runners.timing.recorder import Recorder

logger = logging.getLogger(__name__)

NAME = "Spectate"
PORT = 3097
END = b"$"
# No message is longer; Timing & Scoring sends some hundred passings at once.
MAX_MESSAGE_BYTES = 1_000_000
# Messages up to this size that have arrived are stored together: about 500 passings,
# so that no transaction is long.
READ_BYTES = 32_768
# Bytes that some versions send between messages.
NOISE = b"\x00\r\n"

# Functions that are answered with `Ack` and their name; data functions after storing.
DATA = ("Passing", "Marker", "Store")
GREETINGS = ("Pong", "Ping")
FUNCTIONS = {*DATA, *GREETINGS, *(f"Ack{name}" for name in GREETINGS), "GetLocations"}

DAY = re.compile(r"([0-9]{6})?")


class Message(NamedTuple):
    """A message: its location, function, records, and the number to acknowledge."""

    location: str
    function: str
    records: Sequence[str]
    number: str


def message_of(frame: bytes) -> Message:
    """Parse a message without its end. Every sequence of bytes is some message.

    One that has lost its end contains the next one. It has no function, so that it is
    not acknowledged and both are sent again.
    """
    text = frame.translate(None, NOISE).decode("utf-8", errors="replace")
    fields = text.removesuffix("@").split("@")
    location, function = (*fields, "")[:2]
    records = fields[2:]
    number = records.pop() if records and function in DATA else ""
    if not FUNCTIONS.isdisjoint(records):
        return Message(location, "", [text], "")
    return Message(location, function, [each for each in records if each], number)


def reads_of(message: Message, zone: ZoneInfo, now: datetime) -> list[Read]:
    """Return what a message has read; lines that cannot be read have no time."""
    parse = PARSERS.get(message.function, _unreadable)
    return [parse(message.location, record, zone, now) for record in message.records]


def answers_to(message: Message) -> list[str]:
    """Return the messages to send, once the data of this one is stored."""
    if message.function in GREETINGS:
        greeting = f"{NAME}@Ack{message.function}@"
        if message.function == "Pong":
            return [f"{greeting}Version2.1@$", f"{NAME}@GetLocations@$"]
        return [f"{greeting}$"]
    if message.function in DATA and message.number.isdecimal():
        return [f"{NAME}@Ack{message.function}@{message.number}@$"]
    return []


def _passing(location: str, record: str, zone: ZoneInfo, now: datetime) -> Read:
    fields = _fields(record)
    moment = _moment(fields.get("t", ""), fields.get("d", ""), zone, now)
    return read_of(location, record, fields.get("c", ""), moment)


def _marker(location: str, record: str, zone: ZoneInfo, now: datetime) -> Read:
    fields = _fields(record)
    moment = _moment(fields.get("t", ""), fields.get("d", ""), zone, now)
    return read_of(location, record, time=moment, is_marker=True)


def _stored(location: str, record: str, zone: ZoneInfo, now: datetime) -> Read:
    """Read version 1: chip (7), time (12), …, date (6), checksum (2 characters)."""
    clock, day = record[7:19], record[-8:-2]
    moment = _moment(clock, day, zone, now) if len(record) >= 27 else None
    return read_of(location, record, record[:7], moment)


def _unreadable(location: str, record: str, zone: ZoneInfo, now: datetime) -> Read:
    return read_of(location, record)


PARSERS: dict[str, Callable[[str, str, ZoneInfo, datetime], Read]] = {
    "Passing": _passing,
    "Marker": _marker,
    "Store": _stored,
}


def _fields(record: str) -> dict[str, str]:
    pairs = (field.partition("=") for field in record.split("|"))
    return {key: value for key, separator, value in pairs if separator}


def _moment(clock: str, day: str, zone: ZoneInfo, now: datetime) -> datetime | None:
    """Return the moment of `hh:mm:ss.mmm` and `yymmdd`; None for anything else.

    Markers have no date.
    """
    if not DAY.fullmatch(day):
        return None
    iso = f"20{day[:2]}-{day[2:4]}-{day[4:]}" if day else ""
    return moment_of_clock(iso, clock, zone, now)


# -- the connection


async def serve(
    recorder: Recorder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Serve a connection of Timing & Scoring until it ends.

    Messages that have arrived meanwhile share a transaction, as each has a fixed cost
    of about ten queries and a commit. If the database is unavailable, the connection is
    closed without an acknowledgement; Timing & Scoring connects again and repeats the
    passings.
    """
    peer = writer.get_extra_info("peername")
    logger.info("Timing & Scoring has connected from %s", peer)
    try:
        rest = b""
        while data := await reader.read(READ_BYTES):
            *frames, rest = (rest + data).split(END)
            if len(rest) > MAX_MESSAGE_BYTES:
                logger.warning("A message of %s has no end; it is disconnected", peer)
                return
            messages = [message_of(frame) for frame in frames]
            await _store(recorder, messages)
            for message in messages:
                writer.write("".join(answers_to(message)).encode())
            await writer.drain()
        logger.info("Timing & Scoring at %s has disconnected", peer)
    except ConnectionError:
        logger.info("Timing & Scoring at %s has disconnected", peer)
    except asyncio.CancelledError:
        # The command ends. asyncio would log a traceback for each open connection.
        logger.info("The connection of %s ends with this command", peer)
    except database.DatabaseUnavailable:
        logger.warning("Passings of %s were not stored; it will repeat them", peer)
    finally:
        writer.close()


async def _store(recorder: Recorder, messages: Sequence[Message]) -> None:
    now = timezone.now()
    reads = [
        read
        for message in messages
        if message.function in (*DATA, "")
        for read in reads_of(message, recorder.zone, now)
    ]
    if reads:
        new = await recorder.store(reads)
        logger.info("%d passings, %d new", len(reads), new)
