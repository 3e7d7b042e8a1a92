from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from runners import database
from runners.models import Chip, Entry, Race, Runner
from runners.views.races import listing
from tests.races.field import make_race


@pytest.fixture
def ten(transactional_db: None) -> Iterator[Race]:
    """A race of 10 km in Dublin that started two hours ago, and the chips of two."""
    start = timezone.now() - timedelta(hours=2)
    race = make_race(start=start, timezone="Europe/Dublin")
    for code, bib, chip in (("ann", "1", "KV86583"), ("bob", "2", "41")):
        runner = Runner.objects.create(code=code, name=code.title())
        entry = Entry.objects.create(race=race, runner=runner, bib=bib)
        Chip.objects.create(race=race, code=chip, entry=entry)
    listing.forget_kept()
    yield race
    database.close_connections()
