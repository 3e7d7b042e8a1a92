"""Plays the results of a race through the wire formats of timing systems.

The simulator takes the decoder's side: it connects to `timing mylaps` like Timing &
Scoring, or waits for `timing raceresult` like a decoder.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.utils import timezone

from runners import database
from runners.models import Race, Split
from runners.races.arrival.results import Results
from runners.simulation.field import entries_create
from runners.timing.tables import chips_import

# The field crosses the start within this time.
START_TAKES_S = 600.0
# A mat lies at a checkpoint within this distance of the results' one.
NEAR_M = 50.0
# Passings per message of Timing & Scoring.
AT_ONCE = 100
TICK_S = 0.2
REPLY_S = 30.0
RECONNECT_S = 1.0


class MatError(ValueError):
    """Results that the race cannot have; its text is for the user."""


class ChipPassing(NamedTuple):
    """A chip passes a mat: seconds after the gun."""

    at: float
    station: str
    chip: str


@dataclass(frozen=True)
class Plan:
    """What to play: passings in the order of time, and the splits that must follow."""

    race: Race
    passings: Sequence[ChipPassing]
    splits: dict[tuple[int, int], datetime]

    def moment(self, passing: ChipPassing) -> datetime:
        """Return the local time of a passing, as the decoder's clock shows it."""
        moment = self.race.start + timedelta(seconds=passing.at)
        return moment.astimezone(ZoneInfo(self.race.timezone))

    def wrong(self) -> int:
        """Return how many splits are missing or differ by a millisecond or more."""
        stored = {
            (entry, checkpoint): time
            for entry, checkpoint, time in Split.objects.filter(
                entry__race=self.race, by_mat=True
            ).values_list("entry", "checkpoint", "time")
        }
        return sum(
            key not in stored or abs(stored[key] - moment) >= timedelta(milliseconds=1)
            for key, moment in self.splits.items()
        )


def plan_of(race: Race, results: Results) -> Plan:
    """Enter a runner and give out a chip per row of the results. Raises MatError."""
    start = race.checkpoints.filter(kind="start").first()
    if start is None:
        raise MatError(f"{race.name} has no start.")
    stops = [start]
    for distance in results.distances:
        near = race.checkpoints.filter(
            distance__range=(distance - NEAR_M, distance + NEAR_M)
        ).first()
        if near is None:
            raise MatError(f"{race.name} has no checkpoint at {distance:g} m.")
        stops.append(near)
    entries = entries_create(race=race, size=len(results.times))
    chips = {f"S{number:06}": entry.pk for number, entry in enumerate(entries)}
    chips_import(race=race, chips=chips)
    passings = []
    splits = {}
    for number, (chip, entry) in enumerate(chips.items()):
        begin = round(START_TAKES_S * number / len(entries), 3)
        for stop, run in zip(stops, [0.0, *results.times[number]], strict=True):
            if not math.isnan(run):
                at = begin + float(run)
                passings.append(ChipPassing(at, stop.name, chip))
                splits[entry, stop.pk] = race.start + timedelta(seconds=at)
    return Plan(race, sorted(passings), splits)


async def due_passings(plan: Plan, speed: float) -> AsyncIterator[list[ChipPassing]]:
    """Yield the passings of each tick when it is their time.

    They catch up with the race at a multiple of real time, and then keep its time.
    """
    began = time.monotonic()
    waiting = list(reversed(plan.passings))
    while waiting:
        since_gun = (timezone.now() - plan.race.start).total_seconds()
        reached = min((time.monotonic() - began) * speed, since_gun)
        due = []
        while waiting and waiting[-1].at <= reached:
            due.append(waiting.pop())
        if due:
            yield due
        await asyncio.sleep(TICK_S)


async def play_mylaps(plan: Plan, host: str, port: int, speed: float) -> int:
    """Send all passings like Timing & Scoring; return how often it connected.

    A message that was not acknowledged is sent again after connecting again.
    """
    exporter = Exporter(host, port)
    number = 0
    async for due in due_passings(plan, speed):
        by_station: dict[str, list[ChipPassing]] = defaultdict(list)
        for passing in due:
            by_station[passing.station].append(passing)
        messages = {}
        for station, passings in by_station.items():
            for at in range(0, len(passings), AT_ONCE):
                number += 1
                records = "@".join(
                    _mylaps_record(passing.chip, plan.moment(passing))
                    for passing in passings[at : at + AT_ONCE]
                )
                messages[str(number)] = f"{station}@Passing@{records}@{number}@$"
        await exporter.send(messages)
    exporter.close()
    return exporter.connects


def _mylaps_record(chip: str, moment: datetime) -> str:
    return f"t={_clock(moment)}|c={chip}|ct=CX|d={moment:%y%m%d}|l=0|dv=1|re=0"


def _clock(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03}"


class Exporter:
    """The exporter of Timing & Scoring: connects until messages are acknowledged."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.connects = 0
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, messages: Mapping[str, str]) -> None:
        """Send messages by number, and wait until all are acknowledged."""
        waiting = dict(messages)
        while waiting:
            try:
                async with asyncio.timeout(REPLY_S):
                    await self._try(waiting)
            except (OSError, EOFError):
                self.close()
                await asyncio.sleep(RECONNECT_S)

    async def _try(self, waiting: dict[str, str]) -> None:
        """Send messages, and take those that are acknowledged out of `waiting`."""
        if self._line is None:
            self._line = await asyncio.open_connection(self.host, self.port)
            self.connects += 1
            self._line[1].write(b"Simulator@Pong@$")
        reader, writer = self._line
        writer.write("".join(waiting.values()).encode())
        while waiting:
            answer = (await reader.readuntil(b"$")).decode()
            _, _, number = answer.removesuffix("@$").partition("@AckPassing@")
            waiting.pop(number, None)

    def close(self) -> None:
        if self._line is not None:
            self._line[1].close()
            self._line = None


@dataclass
class Decoder:
    """A RACE RESULT decoder with one file of passings."""

    records: list[str] = field(default_factory=list)
    connects: int = 0

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connects += 1
        # Cancelled at the end: asyncio would log a traceback.
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while line := await reader.readline():
                writer.write(self._reply(line.decode("latin-1").strip()).encode())
                await writer.drain()
        writer.close()

    def _reply(self, command: str) -> str:
        if command == "GETPROTOCOL":
            return "GETPROTOCOL;2.0;1.0;2.0\r\n"
        if command == "PASSINGS":
            return f"PASSINGS;{len(self.records)};1\r\n"
        first, _, count = command.partition(":")
        if not (first.isdecimal() and count.isdecimal()):
            return "ERROR\r\n"
        asked = self.records[int(first) - 1 : int(first) - 1 + int(count)]
        return "".join(f"{record}\r\n" for record in asked) + "\r\n"

    def add(self, passing: ChipPassing, moment: datetime) -> None:
        self.records.append(
            f"{len(self.records) + 1};{passing.chip};{moment:%Y-%m-%d};{_clock(moment)}"
            f";;9;31;;0;;;;;;;;{passing.station};1;;D-1"
        )


async def play_raceresult(plan: Plan, host: str, port: int, speed: float) -> int:
    """Be a decoder until all splits are stored; return the number of connections."""
    decoder = Decoder()
    async with await asyncio.start_server(decoder.serve, host, port):
        await feed(decoder, plan, speed)
        await all_stored(partial(database.work, plan.wrong))
    return decoder.connects


async def feed(decoder: Decoder, plan: Plan, speed: float) -> None:
    """Give a decoder its passings when it is their time."""
    async for due in due_passings(plan, speed):
        for passing in due:
            decoder.add(passing, plan.moment(passing))


async def all_stored(wrong: Callable[[], Awaitable[int]]) -> None:
    """Wait until no split is wrong, or until the number is the same for `REPLY_S`."""
    before, since = -1, time.monotonic()
    while count := await wrong():
        if count != before:
            before, since = count, time.monotonic()
        elif time.monotonic() - since >= REPLY_S:
            break
        await asyncio.sleep(TICK_S)
