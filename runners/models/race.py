from __future__ import annotations

import functools
import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from runners.models.rights import NotingQuerySet, RightsChange

# Runners of a race are visible from this long before the start.
WINDOW_BEFORE_START = timedelta(hours=1)
# A public runner has the bib and the result of their last race for this long.
SHOWN_AFTER_END = timedelta(days=1)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)


@functools.cache
def timezones() -> frozenset[str]:
    """Return the names of all time zones, which Python reads from 600 files."""
    return frozenset(zoneinfo.available_timezones())


def valid_timezone(name: str) -> None:
    if name not in timezones():
        raise ValidationError(f"{name!r} is not a time zone, such as Europe/Paris.")


class RaceQuerySet(NotingQuerySet["Race"]):
    def on_or_next(self, now: datetime) -> RaceQuerySet:
        """Return the races that are not over, earliest start first."""
        return self.filter(ends__gt=now).order_by("start", "name")

    def past(self, now: datetime) -> RaceQuerySet:
        """Return the races that are over, latest end first."""
        return self.filter(ends__lte=now).order_by("-ends", "name")

    def window_open(self, now: datetime | None = None) -> RaceQuerySet:
        """Return the races whose runners are visible now."""
        now = now or timezone.now()
        return self.filter(start__lte=now + WINDOW_BEFORE_START, ends__gt=now)

    def open_or_lately_over(self) -> RaceQuerySet:
        """Return the races that runners are in, or were in within a day."""
        now = timezone.now()
        since = now - SHOWN_AFTER_END
        return self.filter(start__lte=now + WINDOW_BEFORE_START, ends__gt=since)


class Race(models.Model):
    """A course, a start and the runners entered for it."""

    class Visibility(models.TextChoices):
        PUBLIC = "public", "Public"
        LINK = "link", "Unlisted"

    slug = models.CharField(
        max_length=60,
        unique=True,
        validators=[
            RegexValidator(r"\A[a-z0-9-]+\Z", "Use small letters, digits and hyphens.")
        ],
        help_text="Used in links: /races/SLUG/.",
    )
    name = models.CharField(max_length=120)
    start = models.DateTimeField()
    ends = models.DateTimeField(
        help_text="After this, no runner is visible because of this race."
    )
    timezone = models.CharField(
        max_length=64, default="UTC", validators=[valid_timezone]
    )
    line = models.JSONField(
        default=list,
        blank=True,
        help_text="The course, in order: [[lat, lng], …] or [[lat, lng, height], …].",
    )
    length = models.FloatField(
        default=0,
        validators=[MinValueValidator(0)],
        help_text="Metres of the course, as measured or as certified.",
    )
    top_speed = models.FloatField(
        default=12.5,
        validators=[MinValueValidator(1)],
        help_text="The greatest plausible speed in metres per second: 12.5 for "
        "runners, more for wheelchairs and bicycles. Faster fixes are held.",
    )
    pacing = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="Learned from past results for arrival times "
        "(races/arrival/pacing.py); without it, the usual pacing is assumed.",
    )
    visibility = models.CharField(
        max_length=7,
        choices=Visibility,
        default=Visibility.PUBLIC,
        help_text="An unlisted race is visible only with a share link to it.",
    )
    changed_at = models.DateTimeField(auto_now=True)

    rights_kind, rights_key = RightsChange.Kind.RACE, "pk"
    objects = RaceQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["start", "name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(ends__gt=models.F("start")),
                name="a_race_ends_after_its_start",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def kilometres(self) -> float:
        return self.length / 1000

    @property
    def opens(self) -> datetime:
        """Return from when on the race shows its runners."""
        return self.opens_for(None)

    def opens_for(self, wave: Wave | None) -> datetime:
        """Return from when on the race gets positions of the runners of a wave."""
        start = self.start if wave is None else min(self.start, wave.start)
        return start - WINDOW_BEFORE_START

    @property
    def is_over(self) -> bool:
        """Return whether the race has ended."""
        return self.ends <= timezone.now()


class Wave(models.Model):
    """Entries of a race that start together, at a time of their own."""

    race = models.ForeignKey(Race, on_delete=models.CASCADE, related_name="waves")
    name = models.CharField(max_length=40)
    start = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["race", "start", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["race", "name"], name="a_race_names_a_wave_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Checkpoint(models.Model):
    """A point of the course where times are taken."""

    class Kind(models.TextChoices):
        START = "start", "Start"
        SPLIT = "split", "Split"
        FINISH = "finish", "Finish"

    race = models.ForeignKey(Race, on_delete=models.CASCADE, related_name="checkpoints")
    name = models.CharField(max_length=60)
    distance = models.FloatField(
        validators=[MinValueValidator(0)], help_text="Metres along the course."
    )
    kind = models.CharField(max_length=6, choices=Kind, default=Kind.SPLIT)

    class Meta:
        ordering: ClassVar = ["race", "distance"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["race", "name"], name="a_race_names_a_checkpoint_once"
            ),
            models.CheckConstraint(
                condition=models.Q(distance__gte=0), name="distance_is_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return self.name
