from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from runners.admin.columns import ago, liveness
from runners.models import Entry, Race, Runner
from tests.admin.conftest import seen

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


@pytest.mark.parametrize(("seconds", "word"), AGES)
def test_word_follows_the_age_of_the_last_fix(seconds: int, word: str) -> None:
    assert liveness(NOW - timedelta(seconds=seconds), NOW) == word


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
def test_ago_is_one_number(seconds: float, text: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.django_db
@pytest.mark.usefixtures("stopped_clock")
@pytest.mark.parametrize(("seconds", "word"), AGES)
def test_filter_and_column_say_the_same(
    office: Client, bob: Runner, seconds: int, word: str
) -> None:
    seen(bob, seconds_ago=seconds)
    Runner.objects.create(code="never", name="Never")

    for other in ("live", "delayed", "stale", "lost"):
        page = office.get(f"/admin/runners/runner/?liveness={other}")
        shown = list(page.context["cl"].queryset)
        assert shown == ([bob] if other == word else [])
    page = office.get("/admin/runners/runner/")
    assert f'data-state="{word}"' in page.text
    assert 'data-state="no fix yet"' in page.text


@pytest.mark.django_db
def test_runner_never_seen_has_its_own_word(office: Client, bob: Runner) -> None:
    seen(Runner.objects.create(code="18", name="Charlie"), seconds_ago=5)

    page = office.get("/admin/runners/runner/?liveness=no+fix+yet")

    assert list(page.context["cl"].queryset) == [bob]


@pytest.mark.django_db
@pytest.mark.usefixtures("stopped_clock")
def test_lists_answer_race_days_questions(
    office: Client, bob: Runner, park: Race
) -> None:
    Entry.objects.create(race=park, runner=bob, bib="401")
    seen(bob, seconds_ago=47)

    for page in ("runner", "entry", "latestposition"):
        text = office.get(f"/admin/runners/{page}/").text
        for answer in ("delayed", "47 s ago", "82 %", "owntracks"):
            assert answer in text, page


@pytest.mark.django_db
@pytest.mark.usefixtures("stopped_clock")
@pytest.mark.parametrize("page", ["runner", "entry", "latestposition"])
def test_lists_find_by_bib_and_narrow_to_a_race(
    office: Client, bob: Runner, park: Race, page: str
) -> None:
    Entry.objects.create(race=park, runner=bob, bib="401")
    seen(bob, seconds_ago=5)
    queries = {"q=401": 1, "q=999": 0, "race=park": 1, "race=other": 0}

    for query, rows in (queries | {"liveness=live": 1, "liveness=lost": 0}).items():
        found = office.get(f"/admin/runners/{page}/?{query}").context["cl"]
        assert found.result_count == rows, query
