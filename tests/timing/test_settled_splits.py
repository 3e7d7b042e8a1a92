"""Serving processes send the splits of mats without much work for each."""

from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext

from runners.models import Race, Split
from runners.races.race_data import ground_of
from runners.subscriptions.settled_splits import settled_splits
from tests.races.field import pass_mats


def test_the_course_is_not_read_for_each_split(ten: Race) -> None:
    for chip in ("41", "KV86583"):
        pass_mats(ten, chip, ("Start", 60), ("5 km", 90))
    ground_of(Race.objects.get())  # Is kept.
    splits = Split.objects.values_list("pk", flat=True)
    with CaptureQueriesContext(connection) as queries:
        assert len(settled_splits(list(splits))) == 4
    # Also that of `splits`; which entries are shown, races and checkpoints once.
    assert len(queries) == 5
    assert not any('."line"' in query["sql"] for query in queries)
    # SQLite would read all entries for a subquery, in every poll.
    assert not any(query["sql"].count("SELECT") > 1 for query in queries)
