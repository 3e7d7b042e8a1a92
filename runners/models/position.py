from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from runners.models.runner import Runner


def _range(field: str, least: float, most: float, *, null: bool) -> Q:
    inside = Q((f"{field}__gte", least), (f"{field}__lte", most))
    return inside | Q((f"{field}__isnull", True)) if null else inside


class Place(models.Model):
    """The position and motion of a runner at one moment, in SI units. Null: unknown."""

    recorded_at = models.DateTimeField(
        help_text="The phone's time, to the millisecond."
    )
    lat = models.FloatField()
    lng = models.FloatField()
    accuracy = models.FloatField(null=True, blank=True, help_text="Metres.")
    altitude = models.FloatField(null=True, blank=True, help_text="Metres.")
    speed = models.FloatField(null=True, blank=True, help_text="Metres per second.")
    heading = models.FloatField(
        null=True, blank=True, help_text="Degrees from north, clockwise."
    )
    battery = models.FloatField(null=True, blank=True, help_text="Per cent.")
    progress = models.FloatField(
        null=True, blank=True, help_text="Metres along the course of the runner's race."
    )
    source = models.CharField(
        max_length=20, help_text="The endpoint or socket that received it."
    )

    class Meta:
        abstract = True


class Position(Place):
    """One stored fix of a runner."""

    runner = models.ForeignKey(
        Runner, on_delete=models.CASCADE, related_name="positions", db_index=False
    )
    stored_at = models.DateTimeField(
        help_text="The server's time, the same for a whole batch."
    )
    held = models.BooleanField(
        db_default=False,
        help_text="Implausible and not confirmed, so that it is not drawn.",
    )

    class Meta:
        ordering: ClassVar = ["recorded_at"]
        constraints: ClassVar = [
            # Also used by queries of trails and tracks.
            models.UniqueConstraint(
                fields=["runner", "recorded_at"], name="a_runner_is_at_one_place_a_time"
            ),
            models.CheckConstraint(
                condition=_range("lat", -90, 90, null=False), name="lat_is_on_earth"
            ),
            models.CheckConstraint(
                condition=_range("lng", -180, 180, null=False), name="lng_is_on_earth"
            ),
            models.CheckConstraint(
                condition=_range("battery", 0, 100, null=True),
                name="battery_is_per_cent",
            ),
            models.CheckConstraint(
                condition=_range("heading", 0, 360, null=True),
                name="heading_is_in_degrees",
            ),
        ]
        indexes: ClassVar = [
            # The query of backfill for clients that reconnect (`since`).
            models.Index(fields=["runner", "stored_at"], name="position_stored"),
        ]

    def __str__(self) -> str:
        return f"{self.runner_id} at {self.recorded_at:%Y-%m-%d %H:%M:%S}"


class LatestPosition(Place):
    """A runner's newest fix, so that a snapshot reads one row per runner.

    A separate table, because it is written with every batch, and saving a runner in the
    admin must not overwrite it with an older position.
    """

    runner = models.OneToOneField(
        Runner, on_delete=models.CASCADE, primary_key=True, related_name="latest"
    )
    contact_at = models.DateTimeField(
        db_index=True, help_text="When the last message of this runner arrived."
    )
    race_state = models.JSONField(
        null=True,
        blank=True,
        help_text="The runner's state in the race, from which the next fix advances.",
    )

    class Meta:
        indexes: ClassVar = [
            # The query of all public runners, which selects recently seen ones.
            models.Index(fields=["recorded_at"], name="latest_recorded"),
        ]

    def __str__(self) -> str:
        return f"{self.runner_id} last at {self.recorded_at:%Y-%m-%d %H:%M:%S}"
