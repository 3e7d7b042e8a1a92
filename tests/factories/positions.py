"""Positions in the database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from runners.models import LatestPosition, Position, Runner
from runners.units.clock import milliseconds


def stored_times(**only: object) -> dict[str, list[int]]:
    """Return the times of each runner's positions, ms, by code; `only` is a filter."""
    stored: dict[str, list[int]] = {}
    rows = Position.objects.filter(**only)
    for code, at in rows.values_list("runner__code", "recorded_at"):
        stored.setdefault(code, []).append(milliseconds(at))
    return stored


def make_position(
    runner: Runner, at: datetime | None = None, *, seconds_ago: float = 0, **fields: Any
) -> Position:
    """Store a position of a runner, recorded and stored at a time, or now."""
    return Position.objects.create(
        runner=runner, **_fix(at, seconds_ago, "stored_at") | fields
    )


def make_latest(
    runner: Runner, at: datetime | None = None, *, seconds_ago: float = 0, **fields: Any
) -> LatestPosition:
    """Store the latest position of a runner, whose phone was silent since."""
    return LatestPosition.objects.create(
        runner=runner, battery=81.6, **_fix(at, seconds_ago, "contact_at") | fields
    )


def _fix(at: datetime | None, seconds_ago: float, received: str) -> dict[str, Any]:
    at = (at or timezone.now()) - timedelta(seconds=seconds_ago)
    place = {"lat": 53.3566, "lng": -6.3285, "source": "owntracks"}
    return {"recorded_at": at, received: at} | place
