"""Privacy zones: across the date line, and with a radius of each day."""

from __future__ import annotations

import math

import pytest

from runners.earth import EARTH_RADIUS_M
from runners.live.outbox import now_ms
from runners.models import Position, Zone
from runners.positions.fix import Fix
from runners.positions.pipeline import Pipeline
from runners.positions.privacy_rules import DAY_MS, Circle
from runners.positions.track import Publisher
from runners.positions.writing import Row, write
from runners.sharing.runner_settings import zone_save

# Fiji, where a thousandth of a degree of longitude has 106 m.
LAT = -17.0
JUST_WEST, JUST_EAST = 179.9995, -179.9995
FAR_WEST, FAR_EAST = 179.98, -179.98
PLACES = (FAR_WEST, JUST_WEST, JUST_EAST, FAR_EAST)
RADIUS_M = 500.0
SHIFT_M = 250.0


def zone_of(runner: int, lng: float, bearing: float) -> Zone:
    """Return a zone that is not saved yet, and whose circle is shifted by 250 m."""
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
    fixes = [Fix(t + n, LAT, place) for n, place in enumerate(PLACES)]
    receipt = await pipeline.accept(bob, fixes, source="websocket")
    refused = {PLACES[index]: code for index, code, _ in receipt.rejected}
    assert refused == {JUST_WEST: "zone.hidden", JUST_EAST: "zone.hidden"}


@pytest.mark.parametrize("lng", [JUST_WEST, JUST_EAST])
def test_a_new_zone_deletes_positions_on_both_sides_of_the_date_line(
    bob: Publisher, lng: float
) -> None:
    t = now_ms()
    fixes = [Fix(t + n, LAT, place) for n, place in enumerate(PLACES)]
    write([Row(bob.pk, fix, "websocket") for fix in fixes])
    zone_save(zone=zone_of(bob.pk, lng, 90))
    left = Position.objects.values_list("lng", flat=True)
    assert list(left) == [FAR_WEST, FAR_EAST]


# The radius of a day

DAYS = range(20_000, 20_060)


def reach(zone: Zone, day: int, hour: int = 0) -> int:
    """Return the per cent of the radius within which a zone hides on a day."""
    circle = Circle.of(zone)
    t = day * DAY_MS + hour * DAY_MS // 24

    def hides(metres: float) -> bool:
        north = math.degrees(metres / EARTH_RADIUS_M)
        return circle.hides(Fix(t, circle.lat + north, circle.lng))

    # A centimetre inside, so that rounding does not matter.
    return max(p for p in range(200) if hides(RADIUS_M * p / 100 - 0.01))


def home(pk: int) -> Zone:
    zone = zone_of(1, 2.0, 90)
    zone.pk = pk
    return zone


def test_a_zone_reaches_differently_far_each_day_and_never_too_short() -> None:
    reaches = [reach(home(1), day) for day in DAYS]
    assert 100 <= min(reaches) < 105
    assert 120 < max(reaches) <= 125
    assert len(set(reaches)) > 15


def test_a_zone_reaches_equally_far_all_day() -> None:
    for day in DAYS[:5]:
        assert len({reach(home(1), day, hour) for hour in range(24)}) == 1


def test_two_zones_reach_differently_far_on_the_same_days() -> None:
    one, other = ([reach(home(pk), day) for day in DAYS] for pk in (1, 2))
    assert one != other
