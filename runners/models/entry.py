from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from runners.models.race import (
    LONG_AGO,
    NEVER,
    WINDOW_BEFORE_START,
    Checkpoint,
    Race,
    Wave,
)
from runners.models.rights import NotingQuerySet, RightsChange
from runners.models.runner import Runner, RunnerToken


def setup_link_name(race: int) -> str:
    """Return the name of the tokens of links that are mailed to a race's runners."""
    return f"Link by mail, race {race}"


def _of_account(field: str) -> models.Case:
    """Return a field of an entry, or null if its runner has no account."""
    return models.Case(models.When(runner__account__isnull=False, then=models.F(field)))


class EntryQuerySet(NotingQuerySet["Entry"]):
    def bulk_create(
        self, objs: Iterable[Entry], *args: Any, **kwargs: Any
    ) -> list[Entry]:
        """Create entries, with the windows of their races as `save` does."""
        entries = list(objs)
        pks = {entry.race_id for entry in entries}
        races = Race.objects.defer("line").in_bulk(pks)
        for entry in entries:
            if entry.shown_until is None:
                entry.agree(races[entry.race_id])
        return super().bulk_create(entries, *args, **kwargs)

    def update(self, **changes: Any) -> int:
        """Update entries and set `out_at` as `save` does."""
        if "status" in changes:
            is_out = changes["status"] in Entry.OVER and not changes.get("finished_at")
            changes.setdefault("out_at", timezone.now() if is_out else None)
        return super().update(**changes)

    def lock(self, pks: Iterable[int]) -> list[Entry]:
        """Lock entries for the transaction, and return them with their waves.

        Every transaction that writes splits locks their entries first, in the order of
        their keys. Otherwise two of them, of a phone and of a mat, could insert the
        same split, or wait for each other.
        """
        rows = self.filter(pk__in=list(pks)).select_related("wave").order_by("pk")
        # Other transactions may insert rows with a foreign key to these.
        return list(rows.select_for_update(of=("self",), no_key=True))

    def shown(self) -> EntryQuerySet:
        """Return the entries that are visible to others.

        A runner with an account must have accepted the entry.
        """
        return self.filter(models.Q(accepted=True) | models.Q(runner__account=None))

    def open_at(self, moment: Any) -> EntryQuerySet:
        """Return the entries in whose window a moment (or a reference to one) lies."""
        agreed = models.Q(shown_from__lte=moment, shown_until__gt=moment)
        return self.shown().filter(
            agreed | models.Q(runner__account=None),
            race__start__lte=moment + WINDOW_BEFORE_START,
            race__ends__gt=moment,
        )

    def open_after(self, moment: datetime) -> EntryQuerySet:
        """Return the entries whose window ends after a moment."""
        agreed = models.Q(shown_until__gt=moment) | models.Q(runner__account=None)
        return self.shown().filter(agreed, race__ends__gt=moment)

    def windows(self) -> Iterator[tuple[int, datetime, datetime]]:
        """Yield each runner's key, and from when until when the entry shows them.

        Causes two queries. To parse four times for each of thousands of runners takes
        long: those of the races are read once, and agreed ones where they matter.
        """
        rows = list(
            self.order_by().values_list(
                "runner", "race", _of_account("shown_from"), _of_account("shown_until")
            )
        )
        races = Race.objects.defer("line").in_bulk({race for _, race, *_ in rows})
        for runner, pk, opens, ends in rows:
            # It may have been deleted in between.
            if race := races.get(pk):
                yield (
                    runner,
                    max(race.opens, opens or LONG_AGO),
                    min(race.ends, ends or NEVER),
                )

    def end_setup_links(self) -> None:
        """Revoke what was mailed before, maybe to a wrong address."""
        for race, runner in self.order_by().values_list("race", "runner"):
            issued = RunnerToken.objects.usable().filter(
                runner=runner, name=setup_link_name(race)
            )
            for token in issued:
                token.revoke()

    def forget_estimates(self) -> None:
        """Discard estimates until the next mat, because the runners hide a place."""
        estimated = self.filter(estimate__isnull=False)
        estimated.update(estimate=None, changed_at=timezone.now())


class Entry(models.Model):
    """A runner on a race's start list.

    `status` was detected, or set by an organiser. Paused and off course are temporary
    states and only part of the live state.
    """

    class Status(models.TextChoices):
        REGISTERED = "registered", "Registered"
        STARTED = "started", "Started"
        FINISHED = "finished", "Finished"
        DNF = "dnf", "Did not finish"
        DNS = "dns", "Did not start"
        DSQ = "dsq", "Disqualified"

    # Set by an organiser: neither phones nor times change them.
    OUT = (Status.DNF, Status.DNS, Status.DSQ)
    OVER = (Status.FINISHED, *OUT)

    race = models.ForeignKey(Race, on_delete=models.CASCADE, related_name="entries")
    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="entries")
    bib = models.CharField(max_length=12)
    wave = models.ForeignKey(
        Wave,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="entries",
        help_text="Without a wave, the runner starts with the race.",
    )
    category = models.CharField(
        max_length=40,
        blank=True,
        help_text="Standings have a list per category: W40, M, relay.",
    )
    club = models.CharField(
        max_length=60,
        blank=True,
        help_text="Spectators can show and follow a club or a team.",
    )
    status = models.CharField(max_length=10, choices=Status, default=Status.REGISTERED)
    accepted = models.BooleanField(
        default=True,
        help_text="A runner with an account is shown after accepting the entry.",
    )
    # The window of the race that the runner has agreed to. A race whose times change
    # shows a runner with an account in this window only.
    shown_from = models.DateTimeField(blank=True, editable=False)
    shown_until = models.DateTimeField(blank=True, editable=False)
    shows_estimate = models.BooleanField(
        "estimate",
        default=True,
        help_text="Spectators see where the runner is estimated to be between mats.",
    )
    # The address of the start list, and when the set-up link was sent to it. Only the
    # race office sees it; it is deleted after the race.
    mail = models.EmailField(blank=True)
    setup_sent_at = models.DateTimeField(null=True, editable=False)
    # Where the runner is after the last mat, as in a snapshot, or None.
    estimate = models.JSONField(null=True, editable=False)
    started_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When the runner crossed the start, for the chip time.",
    )
    finished_at = models.DateTimeField(null=True, blank=True)
    out_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When the runner gave up, or was marked as out without a time.",
    )
    changed_at = models.DateTimeField(auto_now=True)

    rights_kind, rights_key = RightsChange.Kind.RUNNER, "runner_id"
    objects = EntryQuerySet.as_manager()

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

    def save(self, **kwargs: Any) -> None:
        """Save, with `out_at` set if the entry is over without a finish time."""
        if self.shown_until is None:
            self.agree(self.race)
        if self.status not in self.OVER or self.finished_at is not None:
            self.out_at = None
        elif self.out_at is None:
            self.out_at = timezone.now()
        fields = kwargs.get("update_fields")
        if fields is not None and "status" in fields:
            kwargs["update_fields"] = {*fields, "out_at"}
        super().save(**kwargs)

    def agree(self, race: Race, since: datetime | None = None) -> None:
        """Set the window to that of the race as it is now, at the earliest `since`."""
        opens = race.opens_for(self.wave)
        self.shown_from = opens if since is None else max(opens, since)
        self.shown_until = race.ends

    @property
    def agreed(self) -> tuple[datetime, datetime]:
        """Return the limits of the race's window; none for runners without account."""
        if self.runner.account_id is None:
            return LONG_AGO, NEVER
        return self.shown_from, self.shown_until

    @property
    def asks_again(self) -> bool:
        """Return whether the race has moved out of the window of an accepted entry.

        An earlier opening matters until the agreed one: a new answer opens no past.
        """
        opens = self.race.opens_for(self.wave)
        is_earlier = max(opens, timezone.now()) < self.shown_from
        return self.accepted and (is_earlier or self.race.ends > self.shown_until)

    @property
    def is_shown(self) -> bool:
        """Return whether the race shows the runner, as `shown` does."""
        return self.accepted or self.runner.account_id is None

    @property
    def gun(self) -> datetime:
        """Return the start of this entry's wave, or else of the race."""
        return self.race.start if self.wave is None else self.wave.start


class SplitQuerySet(models.QuerySet["Split"]):
    def settled(self) -> SplitQuerySet:
        """Return the splits that phones do not change."""
        return self.filter(models.Q(by_hand=True) | models.Q(by_mat=True))


class Split(models.Model):
    """The time when a runner passed a checkpoint.

    A time set by hand goes before that of a mat, and this one before that of a phone,
    which is interpolated between two fixes.
    """

    entry = models.ForeignKey(Entry, on_delete=models.CASCADE, related_name="splits")
    checkpoint = models.ForeignKey(
        Checkpoint, on_delete=models.CASCADE, related_name="splits"
    )
    # A checkpoint of a course in laps is passed once per lap.
    pass_number = models.PositiveSmallIntegerField("pass", default=1)
    time = models.DateTimeField()
    uncertainty = models.FloatField(
        default=0, help_text="Seconds between the fixes before and after the split."
    )
    by_hand = models.BooleanField(
        default=False, help_text="Set by an organiser; phones do not change it."
    )
    by_mat = models.BooleanField(
        default=False, help_text="Taken by a timing mat; phones do not change it."
    )
    by_file = models.BooleanField(
        default=False,
        editable=False,
        help_text="The phone's time comes from a file that was uploaded later.",
    )
    # The time and uncertainty that the phone measured where a mat has taken the time.
    phone_time = models.DateTimeField(null=True, blank=True, editable=False)
    phone_uncertainty = models.FloatField(default=0, editable=False)

    objects = SplitQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["entry", "time"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["entry", "checkpoint", "pass_number"],
                name="a_pass_has_one_split",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.entry} at {self.checkpoint}"
