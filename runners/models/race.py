from __future__ import annotations

import zoneinfo
from datetime import datetime, timedelta
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from runners.models.rights import NotingQuerySet, RightsChange
from runners.models.runner import Runner

# Runners of a race can be seen from this long before the start.
WINDOW_BEFORE_START = timedelta(hours=1)


def valid_timezone(name: str) -> None:
    if name not in zoneinfo.available_timezones():
        raise ValidationError(f"{name!r} is no time zone. Use one like Europe/Paris.")


class RaceQuerySet(NotingQuerySet["Race"]):
    def on_or_next(self, now: datetime | None = None) -> RaceQuerySet:
        """Races that are not over, the earliest start first."""
        return self.filter(ends__gt=now or timezone.now()).order_by("start", "name")

    def window_open(self, now: datetime | None = None) -> RaceQuerySet:
        """Races whose runners can be seen now."""
        now = now or timezone.now()
        return self.filter(start__lte=now + WINDOW_BEFORE_START, ends__gt=now)


class Race(models.Model):
    """A course, a start and the runners entered for it."""

    slug = models.CharField(
        max_length=60,
        unique=True,
        validators=[
            RegexValidator(r"\A[a-z0-9-]+\Z", "Use small letters, digits and hyphens.")
        ],
        help_text="Its place in links: /races/SLUG/.",
    )
    name = models.CharField(max_length=120)
    start = models.DateTimeField()
    ends = models.DateTimeField(help_text="Nobody is shown for this race any longer.")
    timezone = models.CharField(
        max_length=64, default="UTC", validators=[valid_timezone]
    )
    line = models.JSONField(
        default=list,
        blank=True,
        help_text="The course, in order: [[lat, lng], …] or [[lat, lng, height], …].",
    )
    length = models.FloatField(default=0, help_text="Of the course, metres.")
    changed_at = models.DateTimeField(auto_now=True)

    rights_kind, rights_key = RightsChange.Kind.RACE, "pk"
    objects = RaceQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["start", "name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(ends__gt=models.F("start")),
                name="a_race_ends_after_its_start",
            )
        ]

    def __str__(self) -> str:
        return self.name


class Checkpoint(models.Model):
    """A place on the course where times are taken."""

    class Kind(models.TextChoices):
        START = "start", "Start"
        SPLIT = "split", "Split"
        FINISH = "finish", "Finish"

    race = models.ForeignKey(Race, on_delete=models.CASCADE, related_name="checkpoints")
    name = models.CharField(max_length=60)
    distance = models.FloatField(
        validators=[MinValueValidator(0)], help_text="Along the course, metres."
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


class Entry(models.Model):
    """A runner on a race's start list."""

    race = models.ForeignKey(Race, on_delete=models.CASCADE, related_name="entries")
    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="entries")
    bib = models.CharField(max_length=12)
    changed_at = models.DateTimeField(auto_now=True)

    rights_kind, rights_key = RightsChange.Kind.RUNNER, "runner_id"
    objects: ClassVar = NotingQuerySet["Entry"].as_manager()

    class Meta:
        verbose_name_plural = "entries"
        ordering: ClassVar = ["race", "bib"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["race", "runner"], name="a_runner_enters_a_race_once"
            ),
            models.UniqueConstraint(
                fields=["race", "bib"], name="a_race_gives_a_bib_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.bib} {self.runner}"
