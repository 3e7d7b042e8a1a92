"""The cost of passings does not grow by statements per passing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runners.models import Entry, Passing, Race, RightsChange, Split
from runners.timing.reads import Read
from runners.timing.storage import passings_store
from tests.races.field import make_entry


def statements(race: Race, station: str, bibs: range, minutes: float) -> int:
    """Store a passing per bib; return the number of statements."""
    time = race.start + timedelta(minutes=minutes)
    reads = [Read(station, f"{bib}", bib=f"{bib}", time=time) for bib in bibs]
    with CaptureQueriesContext(connection) as queries:
        passings_store(race=race, source=Passing.Source.API, reads=reads)
    return len(queries)


@pytest.mark.parametrize("station", ["Start", "5 km", "Finish"])
def test_many_passings_take_as_many_statements_as_one(ten: Race, station: str) -> None:
    bibs = range(100, 130)
    for bib in bibs:
        make_entry(ten, f"r{bib}", f"{bib}")
    statements(ten, station, range(1, 2), 40)
    one = statements(ten, station, bibs[:1], 40)
    assert statements(ten, station, bibs[1:], 40) == one
    assert Split.objects.count() == 31


def test_a_finish_ends_rights_and_a_start_ends_none(ten: Race) -> None:
    changes = RightsChange.objects.filter(kind=RightsChange.Kind.RUNNER)
    before = changes.count()
    statements(ten, "Start", range(1, 2), 1)
    assert changes.count() == before
    statements(ten, "Finish", range(1, 2), 40)
    entry = Entry.objects.get(bib="1")
    assert changes.latest("pk").key == entry.runner_id
    assert changes.count() == before + 1
    assert entry.status == Entry.Status.FINISHED
    assert entry.started_at is not None and entry.finished_at is not None
