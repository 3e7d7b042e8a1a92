"""MYLAPS Timing & Scoring connects, sends, and gets an acknowledgement per message.

The messages are those of the protocol's version 2.1 as the open forwarder of RACEMAP
receives them (github.com/racemap/2-racemap-forwarder, `src/main/mylaps/`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from django.test import AsyncClient

from runners.models import Entry, Passing, Race, Split, Station
from runners.timing import mylaps
from runners.timing.mylaps import message_of, reads_of, serve
from runners.timing.reads import Read
from runners.timing.recorder import Recorder

DUBLIN = ZoneInfo("Europe/Dublin")
JUNE = datetime(2012, 6, 6, 12, 30, tzinfo=UTC)
PASSING = (
    "10KM@Passing@t=13:11:30.904|c=0000041|ct=UH|d=120606|l=13|dv=4|re=0|an=00001111"
    "|g=0|b=41|n=41@t=13:12:21.830|c=0000039|ct=UH|d=120606|l=30|dv=4|re=0|an=00001101"
    "|g=0|b=39|n=39@1016@"
)


def times(frame: str, now: datetime = JUNE) -> list[tuple[str, datetime | None]]:
    reads = reads_of(message_of(frame.encode()), DUBLIN, now)
    return [(read.chip, read.time) for read in reads]


def test_a_passing_is_read_on_the_clock_of_the_race() -> None:
    assert times(PASSING) == [
        ("0000041", datetime(2012, 6, 6, 12, 11, 30, 904_000, tzinfo=UTC)),
        ("0000039", datetime(2012, 6, 6, 12, 12, 21, 830_000, tzinfo=UTC)),
    ]


def test_a_line_of_version_1_is_read() -> None:
    frame = "MTB Split 4Km@Store@KV8658316:13:57.417 3 0F  1000025030870@2@"
    now = datetime(2025, 3, 8, 17, tzinfo=UTC)
    assert times(frame, now) == [
        ("KV86583", datetime(2025, 3, 8, 16, 13, 57, 417_000, tzinfo=UTC))
    ]


def test_a_marker_without_a_date_is_at_the_nearest_midnight() -> None:
    frame = "Start@Marker@t=23:59:58.000|mt=Gunshot|n=Gunshot 1@4@"
    now = datetime(2025, 3, 8, 0, 0, 3, tzinfo=UTC)
    assert times(frame, now) == [("", datetime(2025, 3, 7, 23, 59, 58, tzinfo=UTC))]


@pytest.mark.parametrize(
    ("now", "hour"),
    [
        (datetime(2025, 10, 26, 0, 31, tzinfo=UTC), 0),
        (datetime(2025, 10, 26, 1, 31, tzinfo=UTC), 1),
    ],
)
def test_an_hour_that_is_repeated_in_autumn_is_the_nearer_one(
    now: datetime, hour: int
) -> None:
    frame = "5K@Passing@t=01:30:00.0|c=AB12345|d=251026@1@"
    assert times(frame, now) == [
        ("AB12345", datetime(2025, 10, 26, hour, 30, tzinfo=UTC))
    ]


@pytest.mark.parametrize(
    "record",
    [
        "t=25:11:30|c=1|d=120606",
        "t=13:11:30|d=120606",
        "c=1",
        "t=13:11:30|c=1|d=129999",
    ],
)
def test_a_record_that_cannot_be_read_is_kept_without_a_time(record: str) -> None:
    (read,) = reads_of(message_of(f"5K@Passing@{record}@1@".encode()), DUBLIN, JUNE)
    assert (read.time, read.raw) == (None, record)


# -- over a socket


class Exporter:
    """Timing & Scoring's side of a connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, message: str) -> str:
        self.writer.write(message.encode())
        return (await self.reader.readuntil(b"$")).decode()


@asynccontextmanager
async def exporter_of(race: Race) -> AsyncIterator[Exporter]:
    recorder = Recorder(race.pk, ZoneInfo(race.timezone), Passing.Source.MYLAPS)
    server = await asyncio.start_server(
        partial(serve, recorder),
        "127.0.0.1",
        0,
    )
    host, port = server.sockets[0].getsockname()[:2]
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield Exporter(reader, writer)
    finally:
        writer.close()
        server.close()
        await server.wait_closed()


def sent(race: Race, station: str, chip: str, after: timedelta, number: int = 1) -> str:
    """Return a message about a passing this long after the gun."""
    local = (race.start + after).astimezone(DUBLIN)
    clock = local.strftime("%H:%M:%S.%f")[:-3]
    return f"{station}@Passing@t={clock}|c={chip}|d={local:%y%m%d}@{number}@$"


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def truncated(moment: datetime) -> datetime:
    """Return a moment to the millisecond, as decoders send it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


async def test_a_mat_gives_a_runner_without_a_phone_a_split(ten: Race) -> None:
    async with exporter_of(ten) as exporter:
        assert await exporter.ask("Toolkit@Pong@$") == "Spectate@AckPong@Version2.1@$"
        assert await exporter.reader.readuntil(b"$") == b"Spectate@GetLocations@$"
        for station, after in (("Start", 80), ("5 km", 110)):
            message = sent(ten, station, "0000041", minutes(after), number=after)
            assert await exporter.ask(message) == f"Spectate@AckPassing@{after}@$"

    answer = await AsyncClient().get("/races/ten/standings.json?splits=1")
    (bob,) = [row for row in answer.json()["standings"] if row["bib"] == "2"]
    assert (bob["status"], bob["rank"], bob["progress"]) == ("started", 1, 5000.0)
    splits = [(split["checkpoint"], split["elapsed"]) for split in bob["splits"]]
    elapsed = truncated(ten.start + minutes(110)) - ten.start
    assert splits[1] == ("5 km", round(elapsed.total_seconds() * 1000))
    # The last mat is more than ten minutes ago when the next one is near.
    answer = await AsyncClient().get("/races/ten/eta.json?at=10000")
    (bob,) = answer.json()["runners"]
    assert (bob["runner"], bob["seen"], bob["progress"]) == ("bob", None, 5000.0)
    assert bob["passes"][0]["status"] == "expected"


async def test_repeating_everything_changes_nothing(ten: Race) -> None:
    messages = [
        sent(ten, "Start", "KV86583", minutes(1)),
        sent(ten, "5 km", "KV86583", minutes(20)),
        sent(ten, "Finish", "KV86583", minutes(45)),
        "Start@Passing@t=nonsense@7@$",
        "Start@Marker@t=10:00:00.000|mt=Gunshot|n=Gunshot 1@8@$",
    ]

    async def stored() -> list[tuple[object, ...]]:
        return [
            *[row async for row in Passing.objects.order_by("pk").values_list()],
            *[row async for row in Split.objects.order_by("pk").values_list()],
            *[row async for row in Entry.objects.order_by("pk").values_list()],
        ]

    async with exporter_of(ten) as exporter:
        for message in messages:
            await exporter.ask(message)
    before = await stored()
    async with exporter_of(ten) as exporter:
        for message in messages:
            await exporter.ask(message)
    assert await stored() == before
    assert await Split.objects.acount() == 3


async def test_what_cannot_be_used_is_kept_with_its_reason(ten: Race) -> None:
    async with exporter_of(ten) as exporter:
        await exporter.ask(sent(ten, "5 km", "ZZ00000", minutes(20)))
        await exporter.ask(sent(ten, "Bridge", "KV86583", minutes(21)))
        await exporter.ask(sent(ten, "5 km", "KV86583", timedelta(days=-30)))
        await exporter.ask("Start@Marker@t=10:00:00.000|mt=Gunshot@4@$")
        await exporter.ask("5 km@Passing@c=KV86583@5@$")
    rows = Passing.objects.order_by("pk").values_list("state", flat=True)
    states = [state async for state in rows]
    assert states[:3] + states[4:] == ["chip", "station", "clock", "unreadable"]
    assert await Station.objects.filter(name="Bridge", checkpoints=None).aexists()


async def test_a_message_without_an_end_is_not_stored(ten: Race) -> None:
    async with exporter_of(ten) as exporter:
        half = sent(ten, "5 km", "KV86583", minutes(20)).rstrip("$")
        exporter.writer.write(half.encode())
        exporter.writer.write_eof()
        assert await exporter.reader.read() == b""
    assert not await Passing.objects.aexists()


async def test_an_open_connection_ends_quietly_with_the_command(ten: Race) -> None:
    async with exporter_of(ten) as exporter:
        await exporter.ask("Toolkit@Pong@$")
        serving = [
            task
            for task in asyncio.all_tasks()
            if getattr(task.get_coro(), "__name__", "") == "serve"
        ]
        for task in serving:
            task.cancel()
        await asyncio.wait(serving)
    # asyncio logs a traceback for a connection whose task is cancelled.
    assert [task.cancelled() for task in serving] == [False]


async def test_messages_that_arrive_together_are_stored_in_one_transaction(
    ten: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[int] = []
    store = Recorder.store

    async def count(self: Recorder, reads: Sequence[Read]) -> int:
        stored.append(len(reads))
        return await store(self, reads)

    monkeypatch.setattr(Recorder, "store", count)
    async with exporter_of(ten) as exporter:
        messages = [
            sent(ten, "5 km", "0000041", minutes(70 + number), number=number)
            for number in range(3)
        ]
        exporter.writer.write("".join(messages).encode())
        for number in range(3):
            answer = await exporter.reader.readuntil(b"$")
            assert answer == f"Spectate@AckPassing@{number}@$".encode()
    assert stored == [3]


async def test_a_message_of_any_length_without_an_end_is_disconnected(
    ten: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mylaps, "MAX_MESSAGE_BYTES", 100)
    async with exporter_of(ten) as exporter:
        exporter.writer.write(b"x" * 101)
        assert await exporter.reader.read() == b""
