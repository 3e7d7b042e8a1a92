from __future__ import annotations

import re

import pytest
from django.test import Client

from runners.models import Checkpoint, Runner
from tests.races.field import make_entry, make_field, make_race
from tests.views.standings import table

# The view reads in separate threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)


def test_the_table_has_times_and_splits(client: Client) -> None:
    make_field(make_race())
    head, ann, *others = table(client)
    assert head[:5] == ["rank", "category rank", "wave rank", "bib", "name"]
    assert head[-4:] == ["2.5 km", "5 km", "7.5 km", "Finish"]
    assert ann[3:5] == ["1", "Ann"]
    assert ann[7:10] == ["finished", "33:20", "33:20"]
    assert ann[-4:] == ["8:20", "16:40", "25:00", "33:20"]
    assert len(others) == 4
    assert [row[4] for row in table(client, "?category=W")[1:]] == ["Ann", "Cleo"]


def test_no_cell_is_a_formula(client: Client) -> None:
    race = make_race()
    for n, start in enumerate(("=", "+", "-", "@", "\t=", "\r=")):
        nasty = f"{start}cmd|'/C calc'!A1"
        entry = make_entry(race, f"r{n}", f"{start}{n}", category=nasty)
        Runner.objects.filter(pk=entry.runner_id).update(name=nasty)
    Checkpoint.objects.filter(name="5 km").update(name="=1+1")
    rows = table(client)
    assert len(rows) == 7
    for row in rows:
        assert not any(re.match(r"[=+\-@\t\r]", cell) for cell in row)
