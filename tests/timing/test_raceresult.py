"""RACE RESULT decoders are read over a socket, each passing once.

Records and replies follow RACE RESULT's documents (raceresult.com/en-us/support,
"Decoder TCP/IP" and "Passing Record") and the open client metarace (`decoder/rrs.py`);
those of exporters are in "Default raw data exporters" (id 15788).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from unittest.mock import create_autospec
from zoneinfo import ZoneInfo

import pytest

from runners.models import Passing, Race, Split, Station
from runners.timing import raceresult
from runners.timing.raceresult import count_of, read_decoder, read_of_line
from runners.timing.raceresult_exporter import reads_of_body
from runners.timing.recorder import Recorder
from tests.background import in_background
from tests.waiting import PATIENCE_S, POLL_S

DUBLIN = ZoneInfo("Europe/Dublin")
NOW = datetime(2024, 1, 12, 9, 30, tzinfo=UTC)
# Of a passive tag, of an active transponder on loop 8, and of protocol version 1.0.
PASSIVE = "1;50001;2024-01-12;09:06:35.944;6;72;12;;0;;;;;;;;Finish;177;1;D-50432"
ACTIVE = "2;ZICAD30;2024-01-12;09:06:36.000;0;75;127;;1;8;8;;6233;3.0;17;2;Box;177;;D-5"
OLD = "3;17;0000-00-00;09:06:37.001;6;9"


# The example of "Raw Data Record JSON", shortened. Its time of day is that of the race,
# an hour ahead of UTC, although it ends with Z.
EXPORTED = """{
    "ID":1,
    "Bib":50001,
    "TimingPoint":"STARTFINISH",
    "Result":-10,
    "Time":32795.944,
    "Invalid":false,
    "Passing":{
        "Transponder":"ZICAD30",
        "Position":{"Latitude":0,"Longitude":0,"Altitude":0,"Flag":""},
        "DeviceID":"D-50432",
        "IsMarker":false,
        "Received":"2024-01-12T09:07:43.15+01:00",
        "UTCTime":"2024-01-12T09:06:35.944Z"
        }
    }"""
VIENNA = ZoneInfo("Europe/Vienna")


def exported(**changes: object) -> bytes:
    record = json.loads(EXPORTED)
    record["Passing"] |= changes.pop("passing", {})
    return json.dumps(record | changes).encode()


def test_an_exported_record_is_read_on_the_clock_of_the_race() -> None:
    at = datetime(2024, 1, 12, 8, 6, 35, 944_000, tzinfo=UTC)
    # As in the document, on a line, several, and with the true time in UTC.
    once = exported()
    true = exported(passing={"UTCTime": "2024-01-12T09:06:35.944+01:00"})
    for body in (EXPORTED.encode(), once + b"\r\n", once + b"\n" + once, true):
        reads = reads_of_body(body, VIENNA, NOW)
        assert {(r.station, r.bib, r.chip, r.time) for r in reads} == {
            ("STARTFINISH", "50001", "", at)
        }


@pytest.mark.parametrize(
    ("body", "bib", "chip", "has_time"),
    [
        (exported(Bib=0), "", "ZICAD30", True),
        (exported(Invalid=True), "50001", "", False),
        (exported(Time="9:06"), "50001", "", True),
        (exported(passing={"UTCTime": 7}), "50001", "", False),
        (exported(passing={"UTCTime": "0001-01-01T00:00+14:00"}), "50001", "", False),
        (exported().replace(b"32795.944", b"1e400"), "", "", False),
        (PASSIVE.encode(), "", "50001", True),
        (b'{"a": 1', "", "", False),
        (b"[1, {}, []]", "", "", False),
    ],
)
def test_unusual_exported_records_are_kept(
    body: bytes, bib: str, chip: str, has_time: bool
) -> None:
    read, *_ = reads_of_body(body, VIENNA, NOW)
    assert (read.bib, read.chip, read.time is not None) == (bib, chip, has_time)
    assert read.raw


@pytest.mark.parametrize(
    ("line", "station", "chip", "second"),
    [
        (PASSIVE, "Finish", "50001", 35.944),
        (ACTIVE, "Box loop 8", "ZICAD30", 36.0),
        (OLD, "10.0.0.9", "17", 37.001),
        (f"#P;{PASSIVE}", "Finish", "50001", 35.944),
    ],
)
def test_records_of_all_versions_are_read(
    line: str, station: str, chip: str, second: float
) -> None:
    read = read_of_line(line, "10.0.0.9", DUBLIN, NOW)
    at = datetime(2024, 1, 12, 9, 6, tzinfo=UTC) + timedelta(seconds=second)
    assert (read.station, read.chip, read.time) == (station, chip, at)


def test_without_gps_the_day_is_the_nearest() -> None:
    after_midnight = datetime(2024, 1, 13, 0, 1, tzinfo=UTC)
    line = "9;17;0000-00-00;23:59:00.000;6;9"
    read = read_of_line(line, "box", DUBLIN, after_midnight)
    assert read.time == datetime(2024, 1, 12, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "line",
    [
        *("", "x;17;2024-01-12;09:06:37.001", "1;17;2024-13-12;09:06:37", "1;;;"),
        *("1;17;0001-01-12;09:06:37", "1;17;9999-12-31;23:59:59"),
    ],
)
def test_a_line_that_cannot_be_read_is_kept_without_a_time(line: str) -> None:
    read = read_of_line(line, "box", ZoneInfo("America/New_York"), NOW)
    assert (read.time, read.raw) == (None, line)


def test_the_number_of_passings_is_read_with_and_without_a_file() -> None:
    assert count_of("PASSINGS;12;177") == (12, "177")
    assert count_of("PASSINGS;12") == (12, "")
    assert count_of("GETTIME;0000-00-00;00:02:12.942") is None


class Box:
    """A decoder: answers `GETPROTOCOL`, `PASSINGS` and `n:count`, and nothing else."""

    def __init__(self) -> None:
        self.records: list[str] = []
        self.commands: list[str] = []
        self.file = 177
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.writers.append(writer)
        while line := await reader.readline():
            command = line.decode().removesuffix("\r\n")
            self.commands.append(command)
            writer.write(self._reply(command).encode())
        writer.close()

    def _reply(self, command: str) -> str:
        if command == "GETPROTOCOL":
            return "GETPROTOCOL;1.6;1.0;3.2\r\n"
        if command == "PASSINGS":
            return f"PASSINGS;{len(self.records)};{self.file}\r\n"
        first, _, count = command.partition(":")
        asked = self.records[int(first) - 1 : int(first) - 1 + int(count)]
        return "".join(f"{record}\r\n" for record in asked) + "\r\n"

    def pass_mat(self, race: Race, chip: str, minutes: float, station: str) -> None:
        local = (race.start + timedelta(minutes=minutes)).astimezone(DUBLIN)
        clock = local.strftime("%H:%M:%S.%f")[:-3]
        self.records.append(
            f"{len(self.records) + 1};{chip};{local:%Y-%m-%d};{clock};6;72;12;;0"
            f";;;;;;;;{station};{self.file};1;D-50432"
        )


@asynccontextmanager
async def box_read_for(race: Race, box: Box | None = None) -> AsyncIterator[Box]:
    box = box or Box()
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    recorder = Recorder(race.pk, DUBLIN, Passing.Source.RACE_RESULT)
    try:
        async with in_background(read_decoder(recorder, host, port)):
            yield box
    finally:
        for writer in box.writers:
            writer.close()
        server.close()
        await server.wait_closed()


async def used(count: int) -> None:
    """Wait until so many passings are splits."""
    await stored(count, state="used")


async def stored(count: int, **chosen: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await Passing.objects.filter(**chosen).acount() != count:
            await asyncio.sleep(POLL_S)


async def test_a_decoder_that_goes_away_loses_and_repeats_nothing(
    ten: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raceresult, "POLL_S", 0.02)
    monkeypatch.setattr(raceresult, "RECONNECT_S", 0.02)

    async with box_read_for(ten) as box:
        box.pass_mat(ten, "KV86583", 1, "Start")
        box.pass_mat(ten, "41", 1.5, "Start")
        await used(2)
        box.writers[-1].close()
        box.pass_mat(ten, "KV86583", 21, "5 km")
        await used(3)
        connections = len(box.writers)
    assert connections == 2
    assert {command.partition(":")[0] for command in box.commands} <= {
        *("GETPROTOCOL", "PASSINGS", "1", "2", "3")
    }
    assert await Passing.objects.acount() == 3
    assert await Split.objects.filter(by_mat=True).acount() == 3
    assert await Station.objects.acount() == 2


async def test_reading_goes_on_after_the_last_stored_passing(
    ten: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raceresult, "POLL_S", 0.02)

    async with box_read_for(ten) as box:
        for number in range(200):
            box.pass_mat(ten, f"T{number}", 1, "Start")
        await stored(200)
    async with box_read_for(ten, box):
        box.commands.clear()
        box.pass_mat(ten, "T200", 1, "Start")
        await stored(201)
        asked = [command.split(":") for command in box.commands if ":" in command]
        assert sum(int(count) for _, count in asked) < 12
        # A new file has its passings from the first number on.
        box.file, box.records = 178, []
        for number in range(201):
            box.pass_mat(ten, f"N{number}", 2, "Start")
        await stored(402)


@pytest.mark.parametrize("passes", range(6))
async def test_reading_ends_when_a_line_comes_at_the_moment_of_the_end(
    passes: int,
) -> None:
    reader = asyncio.StreamReader()
    decoder = raceresult.Decoder(reader, create_autospec(asyncio.StreamWriter), "box")
    counting = asyncio.create_task(decoder.count())
    await asyncio.sleep(0)
    reader.feed_data(b"GETTIME;0000-00-00;00:02:12.942\r\n")
    for _ in range(passes):
        await asyncio.sleep(0)
    counting.cancel()
    done, _ = await asyncio.wait([counting], timeout=PATIENCE_S)
    assert done
    assert counting.cancelled()
