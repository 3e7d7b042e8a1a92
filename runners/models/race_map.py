from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.utils import timezone

from runners.models.race import Race

# A map is cut out in batches of some seconds. Without one for this long, the process
# that cut it has ended.
STOPPED_AFTER = timedelta(minutes=5)


class RaceMapQuerySet(models.QuerySet["RaceMap"]):
    def complete(self) -> RaceMapQuerySet:
        """Return the maps that can be shown, newest first."""
        return self.filter(completed_at__isnull=False).order_by("-pk")


class RaceMap(models.Model):
    """The streets around a race's course, as vector tiles.

    A new one replaces the old one when it is complete, and has new addresses, so that
    browsers may cache tiles for long.
    """

    race = models.ForeignKey(Race, on_delete=models.CASCADE, related_name="maps")
    # West, south, east, north.
    bounds = models.JSONField()
    max_zoom = models.PositiveSmallIntegerField(default=0)
    attribution = models.CharField(max_length=400, blank=True)
    # What the archive is asked for; it has no tile for some places.
    tiles_wanted = models.PositiveIntegerField(default=0)
    tiles_read = models.PositiveIntegerField(default=0)
    problem = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(auto_now_add=True)
    # The last batch of tiles.
    advanced_at = models.DateTimeField(auto_now=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    objects = RaceMapQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.race}: {self.tiles_read} of {self.tiles_wanted} tiles"

    @property
    def has_stopped(self) -> bool:
        """Return whether the process that cut it ended before it was complete."""
        silent = timezone.now() - self.advanced_at > STOPPED_AFTER
        return self.completed_at is None and not self.problem and silent


class MapTile(models.Model):
    """A vector tile (MVT, gzip) of a race's map."""

    map = models.ForeignKey(RaceMap, on_delete=models.CASCADE, related_name="tiles")
    z = models.PositiveSmallIntegerField()
    x = models.PositiveIntegerField()
    y = models.PositiveIntegerField()
    body = models.BinaryField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["map", "z", "x", "y"], name="a_map_has_a_tile_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.z}/{self.x}/{self.y}"
