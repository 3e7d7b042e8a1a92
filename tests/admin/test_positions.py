from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from runners.admin import position
from runners.models import Position, Runner
from tests.factories.positions import make_latest

pytestmark = pytest.mark.django_db


def stored(runner: Runner, count: int) -> None:
    now = timezone.now()
    Position.objects.bulk_create(
        Position(
            runner=runner,
            recorded_at=now + timedelta(seconds=number),
            stored_at=now,
            lat=1,
            lng=1,
            source="test",
        )
        for number in range(count)
    )


def test_positions_are_counted_up_to_a_limit(
    office: Client, bob: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(position, "COUNTED", 60)
    stored(bob, 70)

    with CaptureQueriesContext(connection) as captured:
        page = office.get("/admin/runners/position/")

    counts = [query["sql"] for query in captured if "COUNT(" in query["sql"]]
    assert counts and all("LIMIT 60" in sql for sql in counts)
    assert page.context["cl"].result_count == 60
    assert page.context["cl"].result_list[0] == Position.objects.latest("pk")


def test_positions_are_searched_by_code(office: Client, bob: Runner) -> None:
    stored(bob, 3)
    stored(Runner.objects.create(code="18", name="Charlie"), 4)

    page = office.get("/admin/runners/position/?q=17")

    assert page.context["cl"].result_count == 3


@pytest.mark.parametrize("table", ["position", "latestposition"])
def test_positions_are_read_only(office: Client, bob: Runner, table: str) -> None:
    stored(bob, 1)
    make_latest(bob, seconds_ago=5)
    row = Position.objects.get().pk if table == "position" else bob.pk
    url = f"/admin/runners/{table}/{row}"

    assert office.get(f"/admin/runners/{table}/add/").status_code == 403
    assert office.get(f"{url}/delete/").status_code == 403
    assert office.post(f"{url}/change/", {"lat": "2"}).status_code == 403
    page = office.get(f"{url}/change/")
    assert page.status_code == 200
    assert 'name="lat"' not in page.text
