from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from runners.models import Entry, LatestPosition, Position, Runner
from runners.models.race import WINDOW_BEFORE_START
from tests.factories.positions import make_latest
from tests.factories.races import make_bare_race

pytestmark = pytest.mark.django_db


@pytest.fixture
def bob() -> Runner:
    """Bob ran north ten days ago, and a little today."""
    bob = Runner.objects.create(code="bob", name="Bob")
    now = timezone.now()
    for age, count in ((timedelta(days=10), 100), (timedelta(hours=1), 10)):
        Position.objects.bulk_create(
            Position(
                runner=bob,
                recorded_at=now - age + timedelta(seconds=n),
                stored_at=now,
                lat=48 + n / 1e4,
                lng=2,
                source="websocket",
            )
            for n in range(count)
        )
    make_latest(bob, now, lat=48, lng=2, source="websocket")
    return bob


def prune(*args: str) -> str:
    out = io.StringIO()
    call_command("prune_positions", *args, stdout=out)
    return out.getvalue()


def test_pruning_deletes_old_positions_and_prints_how_many(bob: Runner) -> None:
    assert "100 positions of 1 runners" in prune("--days", "7")
    assert Position.objects.count() == 10
    assert LatestPosition.objects.count() == 1
    assert "0 positions of 0 runners" in prune("--days", "7")


def test_pruning_can_keep_the_line(bob: Runner) -> None:
    # The two ends of a straight line are enough.
    assert "98 positions of 1 runners" in prune("--days", "7", "--keep-line")
    assert Position.objects.count() == 12


def test_positions_outside_of_races_are_kept_for_30_days(bob: Runner) -> None:
    now = timezone.now()
    Position.objects.update(recorded_at=F("recorded_at") - timedelta(days=25))
    LatestPosition.objects.update(recorded_at=now - timedelta(days=31))
    start = now - timedelta(days=35, seconds=-105) + WINDOW_BEFORE_START
    race = make_bare_race("past", start, hours=2)
    Entry.objects.create(race=race, runner=bob, bib="1")
    # The last ten of the hundred were recorded in the window.
    Position.objects.filter(lat__gt=48.00895).update(
        recorded_at=F("recorded_at") + timedelta(seconds=20)
    )
    assert "90 positions outside of races of 1 runners" in prune()
    assert Position.objects.count() == 20
    assert not LatestPosition.objects.exists()
    Entry.objects.all().delete()
    assert "10 positions outside of races of 1 runners" in prune()


def test_pruning_needs_a_number_of_days(settings: Settings) -> None:
    settings.SPECTATE_RETENTION_DAYS_OUTSIDE_RACES = 0
    with pytest.raises(CommandError, match="--days"):
        prune()
    with pytest.raises(CommandError, match="1 or more"):
        prune("--days", "-1")
