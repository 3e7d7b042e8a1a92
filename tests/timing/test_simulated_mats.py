"""`simulate --results` plays splits through the wire formats of both systems."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from runners import database
from runners.models import Passing, Race, Split
from runners.races.arrival.results import read_results
from runners.simulation import mats
from runners.simulation.mats import (
    Decoder,
    Plan,
    feed,
    plan_of,
    play_mylaps,
)
from runners.timing import mylaps, raceresult
from runners.timing.recorder import Recorder
from tests.background import in_background

RESULTS = b"2500,5000,10000\n700,1450,3000\n800,,3300\n900,1800,3600\n"
# Faster than any wait of the player.
AT_ONCE = 1e9


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        *((mats, "TICK_S"), (mats, "RECONNECT_S")),
        *((raceresult, "POLL_S"), (raceresult, "RECONNECT_S")),
    ):
        monkeypatch.setattr(module, name, 0.02)


async def plan(race: Race) -> Plan:
    return await database.read(plan_of, race, read_results(RESULTS))


def recorder_of(race: Race, source: Passing.Source) -> Recorder:
    return Recorder(race.pk, ZoneInfo(race.timezone), source)


@pytest.mark.usefixtures("quick")
async def test_timing_and_scoring_is_cut_off_and_all_splits_are_exact(
    ten: Race,
) -> None:
    played = await plan(ten)
    recorder = recorder_of(ten, Passing.Source.MYLAPS)
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            await reader.readuntil(b"$")
            message = mylaps.message_of((await reader.readuntil(b"$"))[:-1])
            reads = mylaps.reads_of(message, recorder.zone, timezone.now())
            # The passings are stored, and the cable is cut before the acknowledgement.
            await recorder.store(reads)
            writer.close()
        else:
            await mylaps.serve(recorder, reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        connects = await play_mylaps(played, host, port, AT_ONCE)
    assert connects == connections == 2
    assert await database.read(played.wrong) == 0
    assert await Split.objects.acount() == len(played.splits) == 11


@pytest.mark.usefixtures("quick")
async def test_all_splits_of_a_decoder_are_exact(ten: Race) -> None:
    played = await plan(ten)
    decoder = Decoder()
    server = await asyncio.start_server(decoder.serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        recorder = recorder_of(ten, Passing.Source.RACE_RESULT)
        async with in_background(raceresult.read_decoder(recorder, host, port)):
            await feed(decoder, played, AT_ONCE)
            await mats.all_stored(partial(database.read, played.wrong))
    assert await database.read(played.wrong) == 0
    assert decoder.connects == 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("counts", "left"), [([3, 2, 1, 0], 0), ([3, 2, 2, 0], 1)])
async def test_a_player_waits_as_long_as_splits_are_stored(
    counts: list[int], left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Counting takes longer than the wait without a new split.
    monkeypatch.setattr(mats, "REPLY_S", 0.0)

    async def wrong() -> int:
        return counts.pop(0)

    await mats.all_stored(wrong)
    assert len(counts) == left


async def test_passings_are_not_sent_before_their_time(ten: Race) -> None:
    played = await plan(ten)
    played.race.start = timezone.now() - timedelta(minutes=20)
    due = await anext(mats.due_passings(played, AT_ONCE))
    since_gun = (timezone.now() - played.race.start).total_seconds()
    assert due == [passing for passing in played.passings if passing.at <= due[-1].at]
    assert due[-1].at <= since_gun < played.passings[-1].at


@pytest.mark.django_db
def test_results_that_the_race_cannot_have_are_refused(
    ten: Race, tmp_path: Path
) -> None:
    file = tmp_path / "results.csv"
    file.write_bytes(RESULTS.replace(b"5000", b"6000"))
    with pytest.raises(CommandError, match="Ten has no checkpoint at 6000 m."):
        call_command("simulate", results=str(file), race="ten")
