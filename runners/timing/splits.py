"""Computes the splits of mats from all passings of an entry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from runners.models import (
    Alert,
    Checkpoint,
    Entry,
    News,
    Passing,
    Race,
    RightsChange,
    Runner,
    Split,
    Webhook,
)
from runners.models.news import Kind
from runners.positions.fix import Fix
from runners.positions.privacy_rules import PrivacyRules, read_rules
from runners.positions.validation import FixError
from runners.races.course import Course
from runners.races.race_data import Ground, ground_of
from runners.timing.chain import ChipRead, Outcome, StationPass, passes_of_chip
from runners.timing.estimates import estimates_set
from runners.timing.rows import rows_update

# Of these states, no other read can change anything.
SET_ASIDE = (
    *(Passing.State.CHIP, Passing.State.CLOCK, Passing.State.MARKER),
    Passing.State.UNREADABLE,
)
# Entries of which the passings are read at once.
ENTRIES_AT_ONCE = 500
# The news of a checkpoint's kind, beside that of the checkpoint.
NEWS: dict[str, Kind] = {"start": Kind.START, "finish": Kind.FINISH}
# An entry's stored splits, as rows by checkpoint and pass.
Known = dict[tuple[int, int], Any]


def mat_splits_update(*, race: Race, entries: Collection[int]) -> None:
    """Compute the entries' mat splits, and store what differs.

    The result depends on the stored passings only, not on their order, so that a
    corrected chip, station or start changes all splits that it concerns.
    """
    ground = ground_of(race)
    passes = _station_passes(race, ground)
    ordered = sorted(entries)
    for at in range(0, len(ordered), ENTRIES_AT_ONCE):
        with transaction.atomic():
            _update(race, ground, ordered[at : at + ENTRIES_AT_ONCE], passes)


def estimates_renew(*, race: Race, entries: Collection[int]) -> None:
    """Compute estimates again, after splits of these entries were set by hand."""
    ground = ground_of(race)
    passes = _station_passes(race, ground)
    if not passes:
        # Nobody is estimated in a race without mats.
        return
    with transaction.atomic():
        rows = Entry.objects.lock(entries)
        rules = _rules_of(list(entries))
        estimates_set(
            race=race, ground=ground, entries=rows, passes=passes, rules=rules
        )
        rows_update(rows, ["estimate"])


def _station_passes(race: Race, ground: Ground) -> dict[int, list[StationPass]]:
    kinds = {stop.pk: stop.kind for stop in ground.stops}
    of_checkpoint: dict[int, list[StationPass]] = defaultdict(list)
    for (checkpoint, number), distance in ground.passes.items():
        is_start = kinds[checkpoint] == Checkpoint.Kind.START
        of_checkpoint[checkpoint].append(
            StationPass(distance, checkpoint, number, is_start)
        )
    passes: dict[int, list[StationPass]] = defaultdict(list)
    pairs = race.stations.exclude(checkpoints=None)
    for station, checkpoint in pairs.values_list("pk", "checkpoints"):
        passes[station] += of_checkpoint[checkpoint]
    return {station: sorted(found) for station, found in passes.items()}


def _update(
    race: Race,
    ground: Ground,
    pks: Sequence[int],
    passes: Mapping[int, Sequence[StationPass]],
) -> None:
    # The old estimate is not read: decoding it costs more than its row.
    entries = Entry.objects.defer("estimate").lock(pks)
    reads: dict[int, list[ChipRead]] = defaultdict(list)
    states: dict[int, str] = {}
    stored = Passing.objects.filter(entry__in=pks).exclude(state__in=SET_ASIDE)
    for pk, of, station, time, state in stored.values_list(
        "pk", "entry", "station", "time", "state"
    ):
        assert time is not None
        reads[of].append(ChipRead(pk, station, time.timestamp()))
        states[pk] = state
    splits: dict[int, Known] = defaultdict(dict)
    for row in Split.objects.filter(entry__in=pks).values():
        splits[row["entry_id"]][row["checkpoint_id"], row["pass_number"]] = row
    rules = _rules_of(pks)
    changes = Changes([], [], [])
    changed: dict[str, list[int]] = defaultdict(list)
    for entry in entries:
        gun = entry.wave.start if entry.wave else race.start
        outcome = passes_of_chip(
            reads[entry.pk], passes, gun=gun.timestamp(), top_speed=race.top_speed
        )
        if entry.runner_id in rules:
            outcome = _shared(outcome, rules[entry.runner_id], ground.course)
        for pk, state in outcome.states.items():
            if states[pk] != state:
                changed[state].append(pk)
        _compare(entry, outcome, splits[entry.pk], changes)
    for state, own in changed.items():
        Passing.objects.filter(pk__in=own).update(state=state)
    kinds = {stop.pk: stop.kind for stop in ground.stops}
    _store(changes, kinds)
    # Followers' pages poll entries that have changed.
    now = timezone.now()
    for entry in changes.entries:
        entry.changed_at = now
    estimates_set(
        race=race, ground=ground, entries=changes.entries, passes=passes, rules=rules
    )
    _store_entries(changes, kinds)


def _rules_of(entries: Sequence[int]) -> dict[int, PrivacyRules]:
    """Return the privacy rules of the entries' runners who may hide a passing."""
    may_hide = Runner.objects.filter(
        ~Q(zones=None)
        | ~Q(pauses=None)
        | ~Q(sharing_ends_at=None)
        | ~Q(erased_at=None),
        entries__in=entries,
    )
    pks = may_hide.values_list("pk", flat=True).distinct()
    return {pk: read_rules(pk) for pk in pks}


def _shared(outcome: Outcome, rules: PrivacyRules, course: Course | None) -> Outcome:
    """Leave out the splits at times and places that a runner does not share.

    A phone's position would have been refused there.
    """
    splits = {}
    states = dict(outcome.states)
    for passed, read in outcome.splits.items():
        if _is_shared(passed, read, rules, course):
            splits[passed] = read
        else:
            states[read.pk] = Passing.State.HIDDEN
    return Outcome(splits, states)


def _is_shared(
    passed: StationPass, read: ChipRead, rules: PrivacyRules, course: Course | None
) -> bool:
    if course is None and rules.circles:
        return False
    lat, lng = course.point_at(passed.distance) if course else (0.0, 0.0)
    try:
        rules.check(Fix(round(read.time * 1000), lat, lng))
    except FixError:
        return False
    return True


class Changes(NamedTuple):
    """The splits of mats that differ from those that are stored."""

    new: list[Split]
    changed: list[Split]
    gone: list[Split]

    @property
    def all(self) -> list[Split]:
        return [*self.new, *self.changed, *self.gone]

    @property
    def entries(self) -> list[Entry]:
        """Return the entries that have any, each once."""
        return list({split.entry_id: split.entry for split in self.all}.values())


def _compare(entry: Entry, outcome: Outcome, known: Known, changes: Changes) -> None:
    """Add an entry's changes to those of others."""
    rows = dict(known)
    for passed, read in outcome.splits.items():
        key = passed.checkpoint, passed.pass_number
        time = datetime.fromtimestamp(read.time, UTC)
        row = rows.pop(key, None)
        if row is None:
            split = Split(checkpoint_id=key[0], pass_number=key[1], by_mat=True)
            split.entry, split.time = entry, time
            changes.new.append(split)
        elif not (row["by_hand"] or (row["by_mat"] and row["time"] == time)):
            changes.changed.append(_with_time(Split(**row, entry=entry), time))
    for row in rows.values():
        if row["by_mat"] and not row["by_hand"]:
            changes.gone.append(Split(**row, entry=entry))


def _with_time(split: Split, time: datetime) -> Split:
    """Set the time that a mat took; keep the phone's beside it."""
    if not split.by_mat:
        split.phone_time = split.time
        split.phone_uncertainty = split.uncertainty
    split.time, split.uncertainty, split.by_mat = time, 0, True
    return split


def _store(changes: Changes, kinds: Mapping[int, str]) -> None:
    """Write splits, and what follows from them."""
    Split.objects.bulk_create(changes.new, batch_size=200)
    Split.objects.bulk_update(
        changes.changed,
        ["time", "uncertainty", "by_mat", "phone_time", "phone_uncertainty"],
        batch_size=200,
    )
    for split in changes.gone:
        _withdraw(split)
    RightsChange.objects.note(
        RightsChange.Kind.SPLIT, [split.pk for split in changes.all]
    )
    of_entry: dict[int, list[Split]] = defaultdict(list)
    for split in changes.all:
        of_entry[split.entry_id].append(split)
    for own in of_entry.values():
        _set_status(own, kinds)
    _tell([*changes.new, *changes.changed], kinds)


def _withdraw(split: Split) -> None:
    """Remove a mat's time; the phone's, if it measured one, counts again."""
    if split.phone_time is None:
        split.delete()
        return
    split.time, split.uncertainty = split.phone_time, split.phone_uncertainty
    split.phone_time, split.by_mat = None, False
    split.save()


def _set_status(splits: Sequence[Split], kinds: Mapping[int, str]) -> None:
    """Start or finish the entry of splits, unless an organiser has taken it out."""
    entry = splits[0].entry
    if entry.status in Entry.OUT:
        return
    if not any(split.pk for split in splits) and not entry.splits.exists():
        # The chip was somebody else's.
        entry.status = Entry.Status.REGISTERED
    elif entry.status == Entry.Status.REGISTERED:
        entry.status = Entry.Status.STARTED
    for split in splits:
        # A deleted split has no key any more.
        time = split.time if split.pk else None
        if kinds[split.checkpoint_id] == Checkpoint.Kind.START:
            entry.started_at = time
        elif kinds[split.checkpoint_id] == Checkpoint.Kind.FINISH:
            entry.finished_at, entry.out_at = time, None
            if time:
                entry.status = Entry.Status.FINISHED
            elif entry.status == Entry.Status.FINISHED:
                entry.status = Entry.Status.STARTED


def _store_entries(changes: Changes, kinds: Mapping[int, str]) -> None:
    """Write what mats change of the entries, which are locked."""
    rows_update(
        changes.entries,
        ("status", "started_at", "finished_at", "out_at", "estimate", "changed_at"),
    )
    # A finish ends a right, because the runner is shown for one more hour only. A
    # start and an estimate end none.
    finished = {
        split.entry.runner_id
        for split in changes.all
        if kinds[split.checkpoint_id] == Checkpoint.Kind.FINISH
    }
    RightsChange.objects.note(RightsChange.Kind.RUNNER, finished)


def _tell(splits: Sequence[Split], kinds: Mapping[int, str]) -> None:
    """Record the news of splits for alerts and webhooks."""
    runners = {split.entry.runner_id for split in splits}
    races = {split.entry.race_id for split in splits}
    is_watched = Webhook.objects.watched_races().filter(pk__in=races).exists()
    alerted = set(
        Alert.objects.filter(runner__in=runners).values_list("runner", flat=True)
    )
    for split in splits:
        if not is_watched and split.entry.runner_id not in alerted:
            continue
        News.objects.tell_of_entry(
            Kind.CHECKPOINT,
            split.entry_id,
            split.time,
            checkpoint=split.checkpoint_id,
            pass_number=split.pass_number,
        )
        if kind := NEWS.get(kinds[split.checkpoint_id]):
            News.objects.tell_of_entry(kind, split.entry_id, split.time)
