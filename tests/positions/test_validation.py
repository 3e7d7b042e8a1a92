from __future__ import annotations

from typing import Any

import pytest

from runners.positions.fix import Fix
from runners.positions.validation import FixError, check_fix, fix_from, place_error

NOW = 1_795_509_018_532


def position(**fields: Any) -> dict[str, Any]:
    return {"lat": 48.85, "lng": 2.35, **fields}


def test_a_fix_has_all_known_fields() -> None:
    fix = fix_from(
        position(accuracy=5, altitude=-3.5, speed=3.2, heading=270, battery=81), NOW
    )
    assert fix == Fix(NOW, 48.85, 2.35, 5, -3.5, 3.2, 270, 81)


@pytest.mark.parametrize(
    "fields",
    [
        {"lat": 90.0001},
        {"lat": -91},
        {"lng": 180.5},
        {"lng": -181},
        {"lat": "48.85"},
        {"lat": None},
        {"lat": True},
        {"lng": [2.35]},
        {"lng": float("nan")},
        {"lng": float("inf")},
        {"lat": 10**400},
    ],
)
def test_a_position_off_the_earth_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(FixError) as refusal:
        fix_from(position(**fields), NOW)
    assert refusal.value.code == "position.invalid"


@pytest.mark.parametrize("lat", [-90.5, -90, 0, 90, 90.5])
@pytest.mark.parametrize("lng", [-180.5, -180, 0, 180, 180.5])
def test_a_bare_position_is_refused_with_the_same_words(lat: float, lng: float) -> None:
    error = place_error(lat, lng)
    try:
        fix_from(position(lat=lat, lng=lng), NOW)
    except FixError as expected:
        assert error is not None
        assert (error.code, error.detail) == (expected.code, expected.detail)
    else:
        assert error is None


def test_a_missing_coordinate_is_refused() -> None:
    with pytest.raises(FixError, match="lng"):
        fix_from({"lat": 1}, NOW)


@pytest.mark.parametrize(("lat", "lng"), [(90, 180), (-90, -180), (0, 1e-9)])
def test_the_limits_of_coordinates_are_valid(lat: float, lng: float) -> None:
    check_fix(fix_from({"lat": lat, "lng": lng}, NOW), NOW)


@pytest.mark.parametrize(
    "fields",
    [
        {"accuracy": -1},
        {"speed": -1},
        {"battery": 101},
        {"battery": "81"},
        {"heading": 361},
        {"altitude": float("nan")},
        {"accuracy": True},
        {"speed": 10**400},
    ],
)
def test_an_unusable_optional_value_is_unknown(
    fields: dict[str, Any],
) -> None:
    assert fix_from(position(**fields), NOW) == Fix(NOW, 48.85, 2.35)


@pytest.mark.parametrize(
    ("fix", "code"),
    [
        (Fix(NOW, 0, 0), "position.invalid"),
        (Fix(NOW, 0.0, -0.0), "position.invalid"),
        (Fix(NOW + 60_001, 48, 2), "position.future"),
        (Fix(NOW // 1000, 48, 2), "position.invalid"),
        (Fix(-1, 48, 2), "position.invalid"),
    ],
)
def test_an_impossible_fix_is_refused_with_a_code(fix: Fix, code: str) -> None:
    with pytest.raises(FixError) as refusal:
        check_fix(fix, NOW)
    assert refusal.value.code == code


def test_a_clock_that_is_a_minute_ahead_is_accepted() -> None:
    check_fix(Fix(NOW + 60_000, 48, 2), NOW)
