"""Zones, pauses and the end of sharing."""

from __future__ import annotations

import asyncio
import math
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import OperationalError, connection
from django.db.models.signals import pre_delete
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from runners import database
from runners.models import Entry, LatestPosition, Pause, Position, Runner, Zone
from runners.positions import tracks
from runners.positions.fix import Fix
from runners.positions.pipeline import Pipeline
from runners.positions.privacy_rules import Circle, forget_hidden
from runners.positions.storage import Row, write_rows
from runners.positions.track import Publisher
from runners.preferences.runner_settings import (
    positions_erase,
    sharing_until,
    zone_save,
)
from runners.units.clock import milliseconds, moment_of, now_ms
from runners.units.earth import EARTH_RADIUS_M
from tests.factories.races import make_bare_race
from tests.waiting import PATIENCE_S, eventually

# In Fiji, 0.001 degrees of longitude are 106 m.
LAT = -17.0
JUST_WEST = 179.9995
JUST_EAST = -179.9995
FAR_WEST = 179.98
FAR_EAST = -179.98
LONGITUDES = (FAR_WEST, JUST_WEST, JUST_EAST, FAR_EAST)
RADIUS_M = 150.0
SHIFT_M = 250.0


def zone_of(runner: int, lng: float, bearing: float) -> Zone:
    """Return an unsaved zone whose circle is shifted by 250 m."""
    return Zone(
        runner_id=runner,
        lat=LAT,
        lng=lng,
        radius=RADIUS_M,
        shift=SHIFT_M / RADIUS_M,
        bearing=bearing,
    )


@pytest.mark.parametrize("lng", [JUST_WEST, JUST_EAST])
@pytest.mark.parametrize("bearing", [90, 270])
async def test_a_zone_hides_both_sides_of_the_date_line(
    pipeline: Pipeline, bob: Publisher, lng: float, bearing: float
) -> None:
    await zone_of(bob.pk, lng, bearing).asave()
    t = now_ms()
    fixes = [Fix(t + n, LAT, place) for n, place in enumerate(LONGITUDES)]
    receipt = await pipeline.accept(bob, fixes, source="websocket")
    refused = {LONGITUDES[index]: code for index, code, _ in receipt.rejected}
    assert refused == {JUST_WEST: "zone.hidden", JUST_EAST: "zone.hidden"}


@pytest.mark.parametrize("lng", [JUST_WEST, JUST_EAST])
def test_a_new_zone_deletes_positions_on_both_sides_of_the_date_line(
    bob: Publisher, lng: float
) -> None:
    t = now_ms()
    fixes = [Fix(t + n, LAT, place) for n, place in enumerate(LONGITUDES)]
    write_rows([Row(bob.pk, fix, "websocket") for fix in fixes])
    zone_save(zone=zone_of(bob.pk, lng, 90))
    left = Position.objects.values_list("lng", flat=True)
    assert list(left) == [FAR_WEST, FAR_EAST]


# -- the hidden circle


def drawn(number: int, **place: float) -> Zone:
    """Return an unsaved zone of a runner by number, with its shift."""
    zone = Zone(
        runner_id=number, **({"lat": 60.0, "lng": 180.0, "radius": 300} | place)
    )
    zone.draw_shift()
    return zone


def places_around(lat: float, lng: float, metres: float) -> list[tuple[float, float]]:
    """Return 16 places at a distance from one."""
    degrees = math.degrees(metres / EARTH_RADIUS_M)
    east = degrees / math.cos(math.radians(lat))
    angles = [n * math.pi / 8 for n in range(16)]
    return [(lat + degrees * math.cos(a), lng + east * math.sin(a)) for a in angles]


def test_nothing_within_four_radii_is_shown_wherever_the_circle_lies() -> None:
    for number in range(200):
        zone = drawn(number)
        circle = Circle.of(zone)
        for place in places_around(zone.lat, zone.lng, 3.99 * 300):
            assert circle.hides(Fix(0, *place))


def test_nothing_beyond_eight_radii_is_hidden() -> None:
    for number in range(200):
        zone = drawn(number)
        circle = Circle.of(zone)
        for place in places_around(zone.lat, zone.lng, 8.06 * 300):
            assert not circle.hides(Fix(0, *place))


def test_a_zone_hides_the_same_circle_every_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    circle = Circle.of(drawn(1))
    inside = places_around(circle.lat, circle.lng, 6 * 300 - 1)
    outside = places_around(circle.lat, circle.lng, 6 * 300 + 1)
    for day in range(20_000, 20_060):
        t = day * 86_400_000
        moment = moment_of(t)
        monkeypatch.setattr(timezone, "now", lambda moment=moment: moment)
        monkeypatch.setattr(time, "time_ns", lambda t=t: t * 1_000_000)
        assert Circle.of(drawn(1)) == circle
        assert all(circle.hides(Fix(t, *place)) for place in inside)
        assert not any(circle.hides(Fix(t, *place)) for place in outside)


def test_each_point_near_the_centre_is_the_place_with_the_same_probability() -> None:
    zones = [drawn(number) for number in range(4_000)]
    # Half of the area, and a quarter of the directions; six standard deviations.
    near = sum(zone.shift < Zone.FARTHEST_SHIFT / math.sqrt(2) for zone in zones)
    north_east = sum(zone.bearing < 90 for zone in zones)
    assert abs(near - 2_000) < 6 * 32
    assert abs(north_east - 1_000) < 6 * 28


def test_a_zone_that_is_made_again_hides_the_same_circle() -> None:
    zone, again = drawn(1), drawn(1, lat=60.0001)
    assert (zone.shift, zone.bearing) == (again.shift, again.bearing)


@pytest.mark.parametrize("change", [{"radius": 400.0}, {"lat": 60.1}])
def test_a_changed_zone_is_shifted_differently(change: dict[str, float]) -> None:
    assert drawn(1).bearing != drawn(1, **change).bearing


BEARINGS = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}


@pytest.mark.parametrize("bearing", BEARINGS)
def test_a_zone_extends_further_in_the_direction_of_its_shift_at_any_latitude(
    bearing: int,
) -> None:
    zone = zone_of(1, 10.0, bearing)
    zone.lat = 60.0
    circle = Circle.of(zone)
    # Places that no unshifted zone covers.
    north = math.degrees((6 * RADIUS_M + 200) / EARTH_RADIUS_M)
    east = north / math.cos(math.radians(zone.lat))
    around = {
        direction: (zone.lat + y * north, zone.lng + x * east)
        for direction, (y, x) in BEARINGS.items()
    }
    hidden = [b for b, place in around.items() if circle.hides(Fix(0, *place))]
    assert hidden == [bearing]


# -- pauses and the end of sharing


@pytest.fixture
def now() -> datetime:
    return timezone.now()


async def refused(
    pipeline: Pipeline, bob: Publisher, now: datetime, *minutes: int
) -> dict[int, str]:
    """Publish fixes of some minutes ago; return the refused ones' codes by minute."""
    times = {m: milliseconds(now - timedelta(minutes=m)) for m in minutes}
    fixes = [Fix(t, 48.0, 2.0) for t in times.values()]
    receipt = await pipeline.accept(bob, fixes, source="overland")
    return {minutes[index]: code for index, code, _ in receipt.rejected}


async def test_a_past_pause_applies_to_fixes_that_arrive_later(
    pipeline: Pipeline, bob: Publisher, now: datetime
) -> None:
    await Pause.objects.acreate(
        runner_id=bob.pk,
        started_at=now - timedelta(hours=5),
        ended_at=now - timedelta(hours=4),
    )
    assert await refused(pipeline, bob, now, 301, 299, 241, 239, 0) == {
        299: "sharing.paused",
        241: "sharing.paused",
    }


async def test_a_pause_holds_however_long_ago_it_was(
    pipeline: Pipeline, bob: Publisher, now: datetime
) -> None:
    ended_at = now - timedelta(days=40)
    await Pause.objects.acreate(
        runner_id=bob.pk, started_at=ended_at - timedelta(hours=1), ended_at=ended_at
    )
    minutes = 40 * 24 * 60
    assert await refused(pipeline, bob, now, minutes + 1, minutes - 1) == {
        minutes + 1: "sharing.paused"
    }


async def test_fixes_recorded_after_the_end_of_sharing_stay_hidden(
    pipeline: Pipeline, bob: Publisher, now: datetime
) -> None:
    runner = await Runner.objects.aget(pk=bob.pk)
    runner.sharing_ends_at = now - timedelta(hours=1)
    await runner.asave()
    codes = dict.fromkeys((59, 1, 0), "sharing.paused")
    assert await refused(pipeline, bob, now, 61, 59, 1, 0) == codes
    await database.read(sharing_until, runner=runner, ends=None)
    await pipeline.tracks.refresh([bob.pk])
    assert await refused(pipeline, bob, now, 61, 59, 1, 0) == codes
    assert await refused(pipeline, bob, timezone.now(), 0) == {}


def test_fixes_committed_after_an_erasure_are_erased_whatever_their_age(
    bob: Publisher, now: datetime
) -> None:
    positions_erase(runner=Runner.objects.get(pk=bob.pk))
    # Fixes that were accepted before the erasure, hours after they were recorded.
    t = milliseconds(now - timedelta(hours=3))
    write_rows([Row(bob.pk, Fix(t + n, 48.0, 2.0), "overland") for n in range(3)])
    forget_hidden(bob.pk, stored_within=600.0)
    assert not Position.objects.exists()
    assert not LatestPosition.objects.exists()


def erase(runner: Runner) -> None:
    positions_erase(runner=runner)


def begin_deletion(runner: Runner) -> None:
    pre_delete.send(sender=Runner, instance=runner, using="default")


@pytest.mark.parametrize("change", [erase, begin_deletion])
def test_entries_are_locked_before_positions_as_by_the_recorder(
    bob: Publisher, now: datetime, change: Callable[[Runner], None]
) -> None:
    runner = Runner.objects.get(pk=bob.pk)
    race = make_bare_race("park", now)
    Entry.objects.create(race=race, runner=runner, bib="1")
    with CaptureQueriesContext(connection) as queries:
        change(runner)
    verbs = r"(SELECT .*? FROM|DELETE FROM|UPDATE)"
    tables = [
        found[2]
        for query in queries
        if (found := re.match(rf'{verbs} "runners_(\w+)"', query["sql"]))
    ]
    assert tables.index("entry") < tables.index("latestposition")


# -- rules that cannot be read, or change meanwhile


async def test_nothing_is_accepted_while_the_rules_cannot_be_read(
    pipeline: Pipeline, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await zone_of(bob.pk, 2.0, 90).asave()

    def unavailable(pk: int) -> object:
        raise OperationalError("the database is away")

    with monkeypatch.context() as outage:
        outage.setattr(tracks, "_read_track", unavailable)
        for _ in range(2):
            with pytest.raises(database.DatabaseUnavailable):
                await pipeline.accept(bob, [Fix(now_ms(), LAT, 2.0)], source="x")
    assert pipeline.accepted == 0
    # The zone is in force once the database is back.
    receipt = await pipeline.accept(bob, [Fix(now_ms(), LAT, 2.0)], source="x")
    assert [code for _, code, _ in receipt.rejected] == ["zone.hidden"]


async def test_a_zone_that_is_made_while_the_rules_are_read_is_in_force(
    pipeline: Pipeline, bob: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_track = tracks._read_track
    is_read, may_return = threading.Event(), threading.Event()

    def slow(pk: int) -> object:
        monkeypatch.setattr(tracks, "_read_track", read_track)
        found = read_track(pk)
        is_read.set()
        may_return.wait(PATIENCE_S)
        return found

    monkeypatch.setattr(tracks, "_read_track", slow)
    fix = Fix(now_ms(), LAT, 2.0)
    accepting = asyncio.create_task(pipeline.accept(bob, [fix], source="x"))
    await eventually(is_read.is_set)
    await zone_of(bob.pk, 2.0, 90).asave()
    await pipeline.tracks.refresh([bob.pk])
    may_return.set()
    receipt = await accepting
    assert [code for _, code, _ in receipt.rejected] == ["zone.hidden"]
