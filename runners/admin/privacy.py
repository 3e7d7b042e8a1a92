"""Privacy rules of runners; the office helps those who cannot set them themselves."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from runners.admin.by_role import ByRole
from runners.models import Pause, Zone
from runners.preferences.runner_settings import pause_save, zone_save


@admin.register(Zone)
class ZoneAdmin(ByRole):
    """Lists do not show the place, because a zone is mostly somebody's home."""

    list_display = ("runner", "name", "radius")
    list_select_related = ("runner",)
    search_fields = ("runner__name", "=runner__code")
    autocomplete_fields = ("runner",)
    fields = ("runner", "name", "lat", "lng", "radius")

    def save_model(
        self, request: HttpRequest, obj: Zone, form: Any, change: bool
    ) -> None:
        """Save the zone, and delete the positions stored inside.

        A zone that is moved or resized gets a new shift: two circles that are shifted
        in the same way would together reveal the place.
        """
        if {"lat", "lng", "radius"} & set(form.changed_data):
            obj.draw_shift()
        zone_save(zone=obj)


@admin.register(Pause)
class PauseAdmin(ByRole):
    list_display = ("runner", "started_at", "ended_at")
    list_select_related = ("runner",)
    list_filter = (("ended_at", admin.EmptyFieldListFilter),)
    search_fields = ("runner__name", "=runner__code")
    autocomplete_fields = ("runner",)
    date_hierarchy = "started_at"

    def save_model(
        self, request: HttpRequest, obj: Pause, form: Any, change: bool
    ) -> None:
        """Save the pause, and end the estimate of a runner between mats."""
        pause_save(pause=obj)
