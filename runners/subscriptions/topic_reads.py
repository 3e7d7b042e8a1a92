"""Reads the runners of a topic from the database, and which of them have changed.

A topic is given as a race (a primary key), or None for everybody public. The functions
run in threads of the database pool.
"""

from __future__ import annotations

from typing import NamedTuple

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from runners.models import Entry, Race
from runners.models.runner import RunnerQuerySet
from runners.rights.access import topic_runners
from runners.snapshots.items import Items, runner_items

# If more runners have changed, all are read.
MOST_READ_AGAIN = 1_000

# Pairs of a runner (primary key) and when their row, or that of an entry, changed: as
# the database writes it, because to parse it for thousands each second takes long.
Fingerprint = frozenset[tuple[int, str]]
CHANGED_AT_AS_TEXT = Cast("changed_at", TextField())


class Version(NamedTuple):
    """Changes when the race or the runners of the topic change.

    `runners` and `entries` are None if all have to be read.
    """

    race: object
    runners: Fingerprint | None
    entries: Fingerprint | None

    def changed_since(self, old: Version) -> set[int] | None:
        """Return the runners to read again (primary keys), or None for all."""
        if old.runners is None or self.runners is None or self.race != old.race:
            return None
        assert old.entries is not None
        assert self.entries is not None
        changed = (self.runners ^ old.runners) | (self.entries ^ old.entries)
        return {pk for pk, _ in changed}


class RaceGone(Exception):
    """The race has been deleted."""


def read_items(race: int | None) -> Items:
    """Read the items of all runners of the topic."""
    return runner_items(topic_runners(race), race)


def read_topic(race: int | None) -> tuple[Version, Items]:
    """Read the version and the items of the topic; raises `RaceGone`."""
    # The version is read first, so that the next poll detects changes in between.
    return _read_version(race), read_items(race)


def read_changes(
    race: int | None, old: Version, items: Items
) -> tuple[Version, Items] | None:
    """Return the new version and all items, or None if nothing has changed.

    `items` are those of the old version. Raises `RaceGone`.
    """
    new = _read_version(race)
    if new == old:
        return None
    changed = new.changed_since(old)
    if changed is None or len(changed) > MOST_READ_AGAIN:
        return new, read_items(race)
    assert new.runners is not None
    seen = {pk for pk, _ in new.runners}
    again = runner_items(changed & seen, race)
    kept = seen - changed
    return new, {pk: item for pk, item in items.items() if pk in kept} | again


def _read_version(race: int | None) -> Version:
    changed_at, seen = None, topic_runners(race)
    # Without hidden runners, whose start and finish would cause visible refreshes.
    entries = Entry.objects.filter(runner__in=seen)
    if race is not None:
        changed_at = Race.objects.filter(pk=race).values_list("changed_at").first()
        if changed_at is None:
            raise RaceGone
        entries = entries.filter(race=race)
    return Version(
        changed_at, _fingerprint(seen, "pk"), _fingerprint(entries, "runner")
    )


def _fingerprint(rows: RunnerQuerySet | QuerySet[Entry], runner: str) -> Fingerprint:
    """Return a value that changes when rows are added, removed or changed."""
    return frozenset(rows.order_by().values_list(runner, CHANGED_AT_AS_TEXT))
