"""Bob runs a race: the pipeline derives progress, splits and states from his fixes."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from msgspec.structs import replace
from pytest_django import Settings

from runners import database
from runners.live.events import PositionAccepted, SplitPassed
from runners.models import (
    Checkpoint,
    Entry,
    LatestPosition,
    News,
    Position,
    Race,
    Split,
)
from runners.positions import pipeline as pipeline_module
from runners.positions.active_entry import ActiveEntry
from runners.positions.fix import Fix
from runners.positions.pipeline import Pipeline, Soon
from runners.positions.recompute import recompute
from runners.positions.running import Running, StoredFix, read_stored
from runners.positions.track import Publisher, Track
from runners.races.entries import entry_mark, splits_set
from runners.snapshots.items import runner_items
from runners.units.clock import now_ms
from tests.positions.followers import Follower
from tests.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.django_db(transaction=True)

LAT = 48.0
# Degrees of latitude per metre.
METRE_DEGREES = 1 / 111_200
SPEED_MPS = 4.0


@pytest.fixture
def entry(bob: Publisher) -> Entry:
    """Bob's entry in a race of 2 km to the north that started ten minutes ago."""
    start = datetime.now(UTC) - timedelta(minutes=10)
    race = Race.objects.create(
        slug="north",
        name="North",
        start=start,
        ends=start + timedelta(hours=3),
        line=[[LAT + m * METRE_DEGREES, 2.0] for m in range(0, 2001, 50)],
        length=2000,
    )
    for name, distance, kind in (
        ("Start", 0, "start"),
        ("Half", 1000, "split"),
        ("Finish", 2000, "finish"),
    ):
        Checkpoint.objects.create(race=race, name=name, distance=distance, kind=kind)
    return Entry.objects.create(race=race, runner_id=bob.pk, bib="7")


def fix_at(entry: Entry, seconds: float) -> Fix:
    """Return Bob's fix at a time after the gun; he stands still before and after."""
    gun = round(entry.race.start.timestamp() * 1000)
    metres = min(max(0.0, seconds * SPEED_MPS), 2000)
    return Fix(
        gun + round(seconds * 1000),
        LAT + metres * METRE_DEGREES,
        2.0,
        accuracy=5.0,
        speed=SPEED_MPS,
    )


async def run(
    pipeline: Pipeline, bob: Publisher, entry: Entry, *seconds: float
) -> None:
    for second in seconds:
        receipt = await pipeline.accept(
            bob, [fix_at(entry, second)], source="websocket"
        )
        assert receipt.rejected == []
        assert receipt.stored is not None
        await receipt.stored
    await pipeline.recorder.flushed()


async def recomputed(pipeline: Pipeline, bob: Publisher) -> None:
    """Wait until late fixes have been taken into account."""
    recompute_task = pipeline.tracks._tracks[bob.pk].recompute_task
    assert recompute_task is not None
    await recompute_task


async def test_progress_splits_and_states_are_sent_and_stored(
    pipeline: Pipeline, bob: Publisher, entry: Entry, follower: Follower
) -> None:
    await run(pipeline, bob, entry, *range(-30, 521, 10))
    assert [event["state"] for event in follower.published("state")] == [
        "started",
        "finished",
    ]
    splits = follower.published("split")
    assert [(s["distance"], s["pass"]) for s in splits] == [
        (0, 1),
        (1000, 1),
        (2000, 1),
    ]
    assert all(s["race"] == "north" and not s["corrected"] for s in splits)
    gun = entry.race.start.timestamp() * 1000
    half = splits[1]
    assert abs(half["at"] - gun - 250_000) < 5_000
    start = entry.race.start
    await entry.arefresh_from_db()
    assert entry.status == "finished"
    assert entry.started_at and entry.finished_at
    assert abs((entry.finished_at - start).total_seconds() - 500) < 15
    stored = await Split.objects.aget(checkpoint__name="Half")
    assert round(stored.time.timestamp() * 1000) == half["at"]
    running = [p for p in follower.progress if p is not None]
    assert running == sorted(running)
    assert running[-1] == 2000
    item = (await database.read(runner_items, [bob.pk]))[bob.pk]
    assert item["state"] == "finished"
    assert item["race"] == "north"
    assert item["fix"] and item["fix"][5] == 2000


async def test_a_restart_continues_from_the_stored_state(
    pipeline: Pipeline, bob: Publisher, entry: Entry, follower: Follower
) -> None:
    await run(pipeline, bob, entry, *range(0, 200, 10))
    pipeline.tracks._tracks.clear()
    await run(pipeline, bob, entry, *range(200, 300, 10))
    assert [event["state"] for event in follower.published("state")] == ["started"]
    assert [s["distance"] for s in follower.published("split")] == [0, 1000]


async def test_a_different_process_continues_from_the_state_in_events(
    pipeline: Pipeline,
    bob: Publisher,
    entry: Entry,
    follower: Follower,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The local state is reset, so it can only come from the event."""
    monkeypatch.setattr(pipeline.hub.layer, "is_local", False)
    await run(pipeline, bob, entry, *range(0, 100, 10))
    here = pipeline.tracks._tracks[bob.pk]
    assert here.running is not None
    before = here.running.state
    await run(pipeline, bob, entry, *range(100, 200, 10))
    event = next(
        each.event
        for each in reversed(follower.events)
        if isinstance(each.event, PositionAccepted)
    )
    here.running.state, here.latest = before, before.t
    await pipeline.hub.publish([event])
    await eventually(lambda: here.latest == event.t)
    assert here.running.state.t == event.t
    assert here.running.state.progress == pytest.approx(190 * SPEED_MPS, abs=20)


async def test_late_fixes_correct_a_split(
    pipeline: Pipeline,
    bob: Publisher,
    entry: Entry,
    follower: Follower,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_module, "RECOMPUTE_AFTER_S", 0.01)
    # There is no coverage from 200 to 300 s. He passes the middle at 250 s.
    await run(pipeline, bob, entry, *range(0, 201, 10), *range(300, 351, 10))
    half = follower.published("split")[1]
    assert half["uncertainty"] == pytest.approx(100, abs=1)
    late = [fix_at(entry, second) for second in range(210, 300, 10)]
    # The finish was believed, and told.
    finish = await Checkpoint.objects.aget(name="Finish")
    at = entry.race.start
    wrong = await Split.objects.acreate(entry=entry, checkpoint=finish, time=at)
    told = f"checkpoint {entry.pk} {finish.pk} 1", f"finish {entry.pk} 0 0"
    for once in told:
        await News.objects.acreate(kind="finish", once=once, runner_id=bob.pk, at=at)
    receipt = await pipeline.accept(bob, late, source="websocket")
    assert receipt.stored is not None
    await receipt.stored
    await recomputed(pipeline, bob)
    await eventually(lambda: len(follower.published("split")) == 4)
    corrected, gone = follower.published("split")[-2:]
    assert corrected["corrected"] and "withdrawn" not in corrected
    assert gone["withdrawn"] and gone["distance"] == 2000
    assert not await Split.objects.filter(pk=wrong.pk).aexists()
    assert not await News.objects.aexists()
    assert corrected["checkpoint"] == half["checkpoint"]
    assert corrected["uncertainty"] <= 10
    stored = await Split.objects.aget(checkpoint__name="Half")
    assert stored.uncertainty <= 10
    assert not await Position.objects.filter(
        recorded_at__gt=entry.race.start + timedelta(seconds=1), progress=None
    ).aexists()
    # A split that an organiser has set stays.
    by_hand = datetime.now(UTC) - timedelta(minutes=5)
    await Split.objects.filter(pk=stored.pk).aupdate(time=by_hand, by_hand=True)
    await pipeline.accept(bob, [fix_at(entry, 255)], source="websocket")
    await recomputed(pipeline, bob)
    await stored.arefresh_from_db()
    assert stored.time == by_hand


async def test_fixes_that_arrive_during_a_recompute_keep_its_result(
    pipeline: Pipeline,
    bob: Publisher,
    entry: Entry,
    follower: Follower,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_module, "RECOMPUTE_AFTER_S", 0.01)
    is_recomputed, may_return = threading.Event(), threading.Event()

    def slow(*args: Any) -> object:
        found = recompute(*args)
        is_recomputed.set()
        may_return.wait(PATIENCE_S)
        return found

    # The phone starts to send on the course; the delayed fixes contain the start.
    await run(pipeline, bob, entry, *range(100, 201, 10))
    monkeypatch.setattr(pipeline_module, "recompute", slow)
    late = [fix_at(entry, second) for second in range(-30, 100, 10)]
    await pipeline.accept(bob, late, source="websocket")
    await eventually(is_recomputed.is_set)
    await run(pipeline, bob, entry, 210, 220)
    here = pipeline.tracks._tracks[bob.pk].running
    assert here is not None
    # The same runner in a different process.
    there = Track()
    there.running = other = Running(here.engagement, here.state)
    await pipeline.hub.subscribe([bob.pk], there)
    may_return.set()
    await recomputed(pipeline, bob)
    await eventually(lambda: other.state == here.state)
    pipeline.hub.unsubscribe([bob.pk], there)
    # A restart continues from the result too.
    pipeline.tracks._tracks.clear()
    await run(pipeline, bob, entry, *range(230, 521, 10))
    gun = entry.race.start
    await entry.arefresh_from_db()
    assert entry.status == "finished"
    assert entry.started_at is not None
    assert abs((entry.started_at - gun).total_seconds()) < 10


async def test_a_jump_is_held_until_a_second_fix_confirms_it(
    pipeline: Pipeline,
    bob: Publisher,
    entry: Entry,
    follower: Follower,
    settings: Settings,
) -> None:
    settings.SPECTATE_OPEN = False
    await run(pipeline, bob, entry, *range(0, 100, 10))
    published = len(follower.progress)
    there = replace(fix_at(entry, 100), lat=LAT + 1)
    receipt = await pipeline.accept(bob, [there], source="websocket")
    assert (receipt.accepted, receipt.rejected) == (1, [])
    assert receipt.stored is not None
    await receipt.stored
    assert len(follower.progress) == published
    assert (await Position.objects.aget(held=True)).lat == there.lat
    assert (await LatestPosition.objects.aget()).lat < LAT + 0.5
    await run(pipeline, bob, entry, 110)
    assert len(follower.progress) == published + 1
    # He is at a different place, so the second fix confirms the first.
    for second in (120, 130):
        fix = replace(fix_at(entry, second), lat=LAT + 1)
        await (await pipeline.accept(bob, [fix], source="websocket")).stored  # type: ignore[misc]
    assert await Position.objects.filter(held=True).acount() == 1
    assert (await LatestPosition.objects.aget()).lat == LAT + 1


async def test_a_runner_whom_an_organiser_took_out_is_not_in_the_race(
    pipeline: Pipeline, bob: Publisher, entry: Entry, follower: Follower
) -> None:
    await run(pipeline, bob, entry, *range(0, 50, 10))
    await Entry.objects.filter(pk=entry.pk).aupdate(status=Entry.Status.DNF)
    await pipeline.tracks.refresh([bob.pk])
    await run(pipeline, bob, entry, *range(50, 600, 10))
    assert {s["distance"] for s in follower.published("split")} == {0}
    await entry.arefresh_from_db()
    assert entry.status == "dnf"
    assert follower.progress[-1] is None
    last = follower.events[-1].event
    assert isinstance(last, PositionAccepted) and last.t <= now_ms()


async def enter_late(pipeline: Pipeline, bob: Publisher, entry: Entry) -> None:
    """Enter the runner after they have passed the middle of the course."""
    await Entry.objects.filter(pk=entry.pk).aupdate(status=Entry.Status.DNS)
    await run(pipeline, bob, entry, *range(-30, 301, 10))
    await Entry.objects.filter(pk=entry.pk).aupdate(status=Entry.Status.REGISTERED)
    await pipeline.tracks.refresh([bob.pk])


async def test_a_change_of_the_race_counts_for_earlier_fixes_too(
    pipeline: Pipeline,
    bob: Publisher,
    entry: Entry,
    follower: Follower,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_module, "RECOMPUTE_AFTER_S", 0.01)
    await enter_late(pipeline, bob, entry)
    await run(pipeline, bob, entry, 310)
    await eventually(lambda: follower.published("state"))
    assert [s["distance"] for s in follower.published("split")] == [0, 1000]
    assert follower.published("state")[-1]["state"] == "started"
    assert (await Entry.objects.aget()).status == "started"
    assert await Split.objects.acount() == 2
    # The start is moved to one hour later.
    race = await Race.objects.aget(pk=entry.race_id)
    race.start += timedelta(hours=1)
    await race.asave()
    await pipeline.tracks.refresh([], [race.pk])
    await run(pipeline, bob, entry, 320)
    await eventually(lambda: len(follower.published("state")) == 2)
    assert follower.published("state")[-1]["state"] == "registered"
    assert [s.get("withdrawn") for s in follower.published("split")][2:] == [True] * 2
    stored = await Entry.objects.aget()
    assert (stored.status, stored.started_at) == ("registered", None)
    assert not await Split.objects.aexists()


class Replay:
    """Holds a replay of late fixes between its reads and its writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_read, self.may_go = threading.Event(), threading.Event()
        read = read_stored

        def read_and_wait(pk: int, engagement: ActiveEntry) -> list[StoredFix]:
            rows = read(pk, engagement)
            if not self.has_read.is_set():
                self.has_read.set()
                assert self.may_go.wait(PATIENCE_S)
            return rows

        monkeypatch.setattr("runners.positions.recompute.read_stored", read_and_wait)
        monkeypatch.setattr(pipeline_module, "RECOMPUTE_AFTER_S", 0.01)

    async def begin(self, pipeline: Pipeline, bob: Publisher, late: list[Fix]) -> None:
        await pipeline.accept(bob, late, source="websocket")
        await eventually(self.has_read.is_set)


async def test_what_a_runner_passes_during_a_replay_stays(
    pipeline: Pipeline,
    bob: Publisher,
    entry: Entry,
    follower: Follower,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replay = Replay(monkeypatch)
    await run(pipeline, bob, entry, *range(-30, 300, 10), *range(400, 481, 10))
    late = [fix_at(entry, second) for second in range(300, 400, 10)]
    await replay.begin(pipeline, bob, late)
    await run(pipeline, bob, entry, *range(490, 551, 10))
    replay.may_go.set()
    await recomputed(pipeline, bob)
    await pipeline.recorder.flushed()
    assert not any(split.get("withdrawn") for split in follower.published("split"))
    stored = await Entry.objects.aget()
    assert stored.status == "finished" and stored.finished_at
    assert await Split.objects.acount() == 3


async def test_a_change_of_rights_during_a_replay_keeps_its_result(
    pipeline: Pipeline,
    bob: Publisher,
    entry: Entry,
    follower: Follower,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replay = Replay(monkeypatch)
    await run(pipeline, bob, entry, *range(-30, 100, 10), 300)
    late = [fix_at(entry, second) for second in range(100, 300, 10)]
    await replay.begin(pipeline, bob, late)
    await pipeline.tracks.refresh([bob.pk])
    replay.may_go.set()
    await recomputed(pipeline, bob)
    await eventually(lambda: follower.published("split")[-1]["corrected"])


async def test_a_change_of_the_race_counts_for_a_2015_client_too(
    pipeline: Pipeline,
    bob: Publisher,
    entry: Entry,
    follower: Follower,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_module, "RECOMPUTE_AFTER_S", 0.01)
    await enter_late(pipeline, bob, entry)
    fix = fix_at(entry, 310)
    track = pipeline.tracks.loaded(bob.pk, fix.t)
    assert track is not None
    errors: list[Exception] = []
    pipeline.accept_soon(
        Soon(bob, track, [(fix, False)], 7, lambda _: None, errors.append)
    )
    await eventually(lambda: follower.published("state"))
    assert await Split.objects.acount() == 2
    assert errors == []


@pytest.mark.parametrize("status", Entry.OUT)
async def test_a_status_set_by_the_race_office_stays_while_the_phone_sends(
    pipeline: Pipeline, bob: Publisher, entry: Entry, status: Entry.Status
) -> None:
    await run(pipeline, bob, entry, *range(0, 50, 10))
    # This process has not read the status yet.
    await database.read(lambda: entry_mark(entry=entry, status=status))
    marked = entry.finished_at, entry.started_at
    await run(pipeline, bob, entry, *range(50, 521, 10))
    await entry.arefresh_from_db()
    assert entry.status == status
    assert (entry.finished_at, entry.started_at) == marked
    assert entry.finished_at is None


async def test_a_finish_set_by_hand_stays(
    pipeline: Pipeline, bob: Publisher, entry: Entry, follower: Follower
) -> None:
    finish = await Checkpoint.objects.aget(kind="finish")
    by_hand = entry.race.start + timedelta(seconds=480)
    await Split.objects.acreate(
        entry=entry, checkpoint=finish, time=by_hand, by_hand=True
    )
    await Entry.objects.filter(pk=entry.pk).aupdate(
        status=Entry.Status.FINISHED, finished_at=by_hand
    )
    await run(pipeline, bob, entry, *range(0, 521, 10))
    await entry.arefresh_from_db()
    assert (entry.status, entry.finished_at) == ("finished", by_hand)
    assert entry.started_at is not None
    assert (await Split.objects.aget(checkpoint=finish)).time == by_hand


async def test_a_start_set_by_hand_stays(
    pipeline: Pipeline, bob: Publisher, entry: Entry
) -> None:
    start = await Checkpoint.objects.aget(kind="start")
    by_hand = entry.race.start + timedelta(seconds=40)

    @transaction.atomic
    def set_by_hand() -> None:
        split = Split.objects.create(
            entry=entry, checkpoint=start, time=by_hand, by_hand=True
        )
        splits_set(splits=[split])

    await database.read(set_by_hand)
    await run(pipeline, bob, entry, *range(-30, 521, 10))
    await entry.arefresh_from_db()
    assert (entry.status, entry.started_at) == ("finished", by_hand)
    assert entry.finished_at is not None
    assert (await Split.objects.aget(checkpoint=start)).time == by_hand


async def test_a_mats_time_stays_and_the_phones_is_kept_beside_it(
    pipeline: Pipeline, bob: Publisher, entry: Entry, follower: Follower
) -> None:
    half = await Checkpoint.objects.aget(name="Half")
    taken = entry.race.start + timedelta(seconds=100)
    await Split.objects.acreate(entry=entry, checkpoint=half, time=taken, by_mat=True)
    await run(pipeline, bob, entry, *range(-30, 521, 10))
    split = await Split.objects.aget(checkpoint=half)
    assert (split.time, split.by_mat) == (taken, True)
    # At 4 m/s.
    assert split.phone_time is not None
    assert abs((split.phone_time - entry.race.start).total_seconds() - 250) < 10
    # Others are not sent the phone's.
    published = [event["checkpoint"] for event in follower.published("split")]
    assert half.pk not in published and len(published) == 2


async def test_splits_of_an_unlisted_race_are_sent_to_its_followers_only(
    pipeline: Pipeline, bob: Publisher, entry: Entry, follower: Follower
) -> None:
    await Race.objects.filter(slug="north").aupdate(visibility=Race.Visibility.LINK)
    await run(pipeline, bob, entry, *range(0, 521, 10))
    assert [event["state"] for event in follower.published("state")] == [
        "started",
        "finished",
    ]
    named = [each.event for each in follower.events if b"north" in each.for_typed()]
    assert len(named) == 3
    splits = [event for event in named if isinstance(event, SplitPassed)]
    assert [event.only for event in splits] == [entry.race_id] * 3
    assert await Split.objects.acount() == 3
