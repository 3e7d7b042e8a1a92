"""Stored positions."""

from __future__ import annotations

from runners.models import Position
from runners.units.clock import milliseconds


def stored_times(**only: object) -> dict[str, list[int]]:
    """Return the times of each runner's positions, ms, by code; `only` is a filter."""
    stored: dict[str, list[int]] = {}
    rows = Position.objects.filter(**only)
    for code, at in rows.values_list("runner__code", "recorded_at"):
        stored.setdefault(code, []).append(milliseconds(at))
    return stored
