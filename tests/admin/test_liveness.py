from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from runners.admin.columns import ago, liveness
from runners.models import Entry, Race, Runner
from tests.factories.positions import make_latest

NOW = datetime(2026, 5, 31, 9, tzinfo=UTC)
AGES = [
    (0, "live"),
    (29, "live"),
    (30, "delayed"),
    (119, "delayed"),
    (120, "stale"),
    (599, "stale"),
    (600, "lost"),
    (10**7, "lost"),
]


@pytest.mark.parametrize(("seconds", "state"), AGES)
def test_liveness_follows_the_age_of_the_last_fix(seconds: int, state: str) -> None:
    assert liveness(NOW - timedelta(seconds=seconds), NOW) == state


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s ago"),
        (12.9, "12 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7199, "119 min ago"),
        (7200, "2 h ago"),
        (200_000, "2 days ago"),
    ],
)
def test_an_age_is_one_number(seconds: float, text: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.django_db
@pytest.mark.usefixtures("stopped_clock")
@pytest.mark.parametrize(("seconds", "state"), AGES)
def test_the_filter_and_the_column_agree(
    office: Client, bob: Runner, seconds: int, state: str
) -> None:
    make_latest(bob, seconds_ago=seconds)
    Runner.objects.create(code="never", name="Never")

    for other in ("live", "delayed", "stale", "lost"):
        page = office.get(f"/admin/runners/runner/?liveness={other}")
        shown = list(page.context["cl"].queryset)
        assert shown == ([bob] if other == state else [])
    page = office.get("/admin/runners/runner/")
    assert f'data-state="{state}"' in page.text
    assert 'data-state="no fix yet"' in page.text


@pytest.mark.django_db
def test_a_runner_without_a_fix_has_a_separate_state(
    office: Client, bob: Runner
) -> None:
    make_latest(Runner.objects.create(code="18", name="Charlie"), seconds_ago=5)

    page = office.get("/admin/runners/runner/?liveness=no+fix+yet")

    assert list(page.context["cl"].queryset) == [bob]


@pytest.mark.django_db
@pytest.mark.usefixtures("stopped_clock")
def test_lists_show_state_age_battery_and_app(
    office: Client, bob: Runner, park: Race
) -> None:
    Entry.objects.create(race=park, runner=bob, bib="401")
    make_latest(bob, seconds_ago=47)

    for page in ("runner", "entry", "latestposition"):
        text = office.get(f"/admin/runners/{page}/").text
        for answer in ("delayed", "47 s ago", "82 %", "owntracks"):
            assert answer in text, page


@pytest.mark.django_db
@pytest.mark.usefixtures("stopped_clock")
@pytest.mark.parametrize("page", ["runner", "entry", "latestposition"])
def test_lists_are_searched_by_bib_and_filtered_by_race(
    office: Client, bob: Runner, park: Race, page: str
) -> None:
    Entry.objects.create(race=park, runner=bob, bib="401")
    make_latest(bob, seconds_ago=5)
    queries = {"q=401": 1, "q=999": 0, "race=park": 1, "race=other": 0}

    for query, rows in (queries | {"liveness=live": 1, "liveness=lost": 0}).items():
        found = office.get(f"/admin/runners/{page}/?{query}").context["cl"]
        assert found.result_count == rows, query
