"""A mat and a phone store the same split at the same time, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

import psycopg
import pytest
from django.db import transaction
from django.utils import timezone

from runners.models import Checkpoint, Entry, Passing, Race, Split
from runners.positions.storage import Change, SplitChange, StatusChange, write_rows
from runners.races.entries import HandSplit, splits_set_by_hand
from runners.timing.reads import read_of
from runners.timing.storage import passings_store
from runners.units.clock import milliseconds
from tests.races.field import make_entry, make_race
from tests.servers import in_database
from tests.waiting import PATIENCE_S, wait_until


def make_scene() -> Race:
    now = timezone.now().replace(microsecond=0)
    race = make_race(start=now - timedelta(minutes=40))
    make_entry(race, "bob", "17")
    return race


def by_phone(race: Race, written: Event, goes_on: Event) -> None:
    """Write a split as the recorder does, and commit when told so."""
    entry, checkpoint = Entry.objects.get(), Checkpoint.objects.get(name="5 km")
    at = milliseconds(race.start + timedelta(minutes=21))
    changes: list[Change] = [
        SplitChange(entry.pk, checkpoint.pk, 1, at, 4.0),
        StatusChange(entry.pk, Entry.Status.STARTED, milliseconds(race.start), None),
    ]
    with transaction.atomic():
        write_rows((), changes)
        written.set()
        assert goes_on.wait(PATIENCE_S)


def by_mat(race: Race) -> None:
    read = read_of("5 km", "a line", "17", race.start + timedelta(minutes=20))
    passings_store(race=race, source=Passing.Source.API, reads=[read])


def by_hand(race: Race) -> None:
    time = race.start + timedelta(minutes=20)
    entry, checkpoint = Entry.objects.get(), Checkpoint.objects.get(name="5 km")
    splits_set_by_hand(times=[HandSplit(entry, checkpoint, 1, time)])


def stored_split() -> Split:
    return Split.objects.select_related("entry__race").get()


def is_blocked(postgres: psycopg.Connection) -> bool:
    """Return whether a transaction waits for a different one."""
    waiting = postgres.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    return waiting is not None and waiting[0] > 0


@pytest.mark.parametrize("other", [by_mat, by_hand])
def test_a_split_that_a_phone_has_not_committed_yet_is_waited_for(
    postgres_url: str, other: Callable[[Race], None]
) -> None:
    race = in_database(postgres_url, make_scene)
    written, goes_on = Event(), Event()
    with (
        psycopg.connect(postgres_url, autocommit=True) as postgres,
        ThreadPoolExecutor(2) as threads,
    ):
        phone = threads.submit(
            in_database, postgres_url, by_phone, race, written, goes_on
        )
        try:
            assert written.wait(PATIENCE_S)
            beside = threads.submit(in_database, postgres_url, other, race)
            wait_until(lambda: is_blocked(postgres) or beside.done())
        finally:
            goes_on.set()
        phone.result(PATIENCE_S)
        beside.result(PATIENCE_S)

    split = in_database(postgres_url, stored_split)
    assert split.by_mat or split.by_hand
    assert split.time == race.start + timedelta(minutes=20)
    assert split.entry.status == Entry.Status.STARTED
    if split.by_mat:
        assert split.phone_time == race.start + timedelta(minutes=21)
