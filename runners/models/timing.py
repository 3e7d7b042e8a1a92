from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from runners.models.entry import Entry
from runners.models.race import Checkpoint, Race


class Station(models.Model):
    """A timing point, named as the decoder names it, with its checkpoints.

    A mat that is both start and finish has both checkpoints. A station without a
    checkpoint was created by its first passing.
    """

    race = models.ForeignKey(Race, on_delete=models.CASCADE, related_name="stations")
    name = models.CharField(
        max_length=80, help_text="The location or box, exactly as the decoder sends it."
    )
    checkpoints = models.ManyToManyField(
        Checkpoint,
        blank=True,
        related_name="stations",
        help_text="Where this mat lies: several if it is start and finish.",
    )

    class Meta:
        ordering: ClassVar = ["race", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["race", "name"], name="a_race_names_a_station_once"
            )
        ]

    def __str__(self) -> str:
        return self.name


class Chip(models.Model):
    """A transponder that an entry carries. An entry may carry several."""

    race = models.ForeignKey(Race, on_delete=models.CASCADE, related_name="chips")
    # Without leading zeros, which spreadsheets remove, and in capitals.
    code = models.CharField(max_length=40)
    entry = models.ForeignKey(Entry, on_delete=models.CASCADE, related_name="chips")

    class Meta:
        ordering: ClassVar = ["race", "code"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["race", "code"], name="a_race_gives_a_chip_once"
            )
        ]

    def __str__(self) -> str:
        return self.code


class Passing(models.Model):
    """A line of a decoder, as it came, and what was read from it."""

    class Source(models.TextChoices):
        MYLAPS = "mylaps", "MYLAPS"
        RACE_RESULT = "raceresult", "RACE RESULT"
        CSV = "csv", "CSV file"
        API = "api", "HTTP API"

    class State(models.TextChoices):
        USED = "used", "Used as a split"
        REPEAT = "repeat", "Read again at the same mat"
        EARLY = "early", "Before the start"
        ORDER = "order", "Contradicts other mats"
        HIDDEN = "hidden", "Not shared by the runner"
        CHIP = "chip", "Unknown chip"
        STATION = "station", "Station without checkpoint"
        CLOCK = "clock", "Wrong clock"
        MARKER = "marker", "Marker, such as a gunshot"
        UNREADABLE = "unreadable", "Unreadable"

    race = models.ForeignKey(Race, on_delete=models.CASCADE, related_name="passings")
    source = models.CharField(max_length=10, choices=Source)
    station = models.ForeignKey(
        Station, on_delete=models.CASCADE, related_name="passings"
    )
    # As the decoder sent it.
    chip = models.CharField(max_length=40, blank=True)
    # Sources that know the start list may name the bib instead.
    bib = models.CharField(max_length=12, blank=True)
    time = models.DateTimeField(null=True)
    raw = models.CharField("line", max_length=500)
    received_at = models.DateTimeField(default=timezone.now)
    entry = models.ForeignKey(
        Entry, on_delete=models.SET_NULL, null=True, related_name="passings"
    )
    state = models.CharField(max_length=10, choices=State)

    class Meta:
        ordering: ClassVar = ["-received_at", "-pk"]
        constraints: ClassVar = [
            # A decoder that reconnects may send all its passings again.
            models.UniqueConstraint(
                fields=["station", "chip", "bib", "time"],
                name="a_passing_is_stored_once",
            ),
            models.UniqueConstraint(
                fields=["station", "raw"],
                condition=models.Q(time=None),
                name="an_unreadable_line_is_stored_once",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["race", "state"], name="passings_of_a_state"),
        ]

    def __str__(self) -> str:
        return f"{self.chip or '–'} at {self.station_id}"
