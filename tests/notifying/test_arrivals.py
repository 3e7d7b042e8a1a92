"""Notifications shortly before a runner passes a place of the course."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.signals import post_init
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from runners.models import ArrivalAlert, Entry, Race, Runner, Subscription
from runners.notifying import arrival_alerts
from runners.notifying.arrival_alerts import arrival_alerts_set, record_arrivals
from runners.notifying.notifier import Notifier
from runners.units.errors import CodedError
from tests.notifying.news import send_all
from tests.notifying.push import Browser, PushService
from tests.races.field import LENGTH_M, make_entry, make_race

pytestmark = pytest.mark.django_db

# At this pace a runner is at 8 km after the 40 minutes of the race.
PACE_S_PER_M = 0.3


@pytest.fixture
def ann() -> Entry:
    """A runner at 8 km of 10."""
    return make_entry(make_race(), "ann", "1", pace=PACE_S_PER_M)


def choose(browser: Browser, **choice: Any) -> dict[str, Any]:
    given = {"push": browser.subscription, "race": "ten", "runners": ["ann"]}
    answer: dict[str, Any] = (
        Client()
        .post(
            "/notifications/arrivals/", given | choice, content_type="application/json"
        )
        .json()
    )
    return answer


def send_in(minutes: float) -> None:
    """Send the notifications that are due in some minutes, and those twice."""
    for _ in range(2):
        record_arrivals(timezone.now() + timedelta(minutes=minutes))
        send_all(Notifier())


def titles(browser: Browser, service: PushService) -> list[str]:
    return [browser.read(post.body)["title"] for post in service.posts]


def test_a_browser_rings_once_5_min_and_once_1_min_before_a_pass(
    ann: Entry, browser: Browser, service: PushService
) -> None:
    # 1,800 m away: 9 minutes.
    assert choose(browser, distances=[9_800]) == {"arrivals": 1}
    send_all(Notifier())
    assert service.posts == []
    send_in(minutes=4.05)
    assert titles(browser, service) == ["Ann in about 5 min"]
    post = service.posts[0]
    message = browser.read(post.body)
    assert message["body"] == "At 9.8 km. Ten."
    # Phones that sleep deliver only urgent messages at once.
    assert post.headers["urgency"] == "high"
    send_in(minutes=8.05)
    assert titles(browser, service)[1:] == ["Ann in about 1 min"]


def test_the_last_choice_replaces_the_one_before(
    ann: Entry, browser: Browser, service: PushService
) -> None:
    choose(browser, distances=[9_000, LENGTH_M])
    assert choose(browser, distances=[8_500.04]) == {"arrivals": 1}
    assert [alert.distance for alert in ArrivalAlert.objects.all()] == [8_500.0]
    # A place that is passed too often to be chosen.
    stopped = choose(browser, runners=[], distances=list(range(101)))
    assert stopped == {"arrivals": 0}
    send_all(Notifier())
    assert service.posts == []


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        ({"distances": ["9000"]}, "message.invalid"),
        ({"distances": [float("1e9")]}, "message.invalid"),
        ({"distances": 3}, "message.invalid"),
        ({"push": None}, "message.invalid"),
        ({"race": "none", "distances": [1]}, "race.unknown"),
        ({"runners": ["nobody"], "distances": [1]}, "runner.unknown"),
        ({"distances": list(range(101))}, "alerts.limit"),
    ],
)
def test_a_wrong_choice_is_refused_and_changes_nothing(
    ann: Entry, browser: Browser, choice: dict[str, Any], code: str
) -> None:
    choose(browser, distances=[9_000])
    assert choose(browser, **choice)["code"] == code
    assert ArrivalAlert.objects.count() == 1


def test_too_many_passes_are_refused_before_they_are_built(
    ann: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("An alert was built.")

    monkeypatch.setattr(ArrivalAlert, "__init__", build)
    with pytest.raises(CodedError, match="at most 500 arrivals"):
        arrival_alerts_set(
            subscription=Subscription.objects.create(endpoint="https://push.test"),
            chosen=[([ann] * 6, None)],
            distances=range(100),
        )


def test_a_browser_may_choose_some_times_per_minute(
    ann: Entry, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(browser, distances=[9_000])
    monkeypatch.setattr(arrival_alerts, "MAX_CHOICES", 0)
    assert choose(browser, distances=[8_000])["code"] == "rate.limited"
    assert [alert.distance for alert in ArrivalAlert.objects.all()] == [9_000]


def test_the_queries_do_not_grow_with_the_places_of_a_race(
    ann: Entry, browser: Browser
) -> None:
    counts = []
    # The first turn also reads the course, which is cached from then on.
    for distances in ([9_900], [9_900], range(9_800, 9_900)):
        choose(browser, distances=list(distances))
        with CaptureQueriesContext(connection) as queries:
            assert record_arrivals(timezone.now()) == 0
        counts.append(len(queries))
    assert counts[1] == counts[2]


def test_alerts_that_are_not_due_are_not_loaded(ann: Entry, browser: Browser) -> None:
    choose(browser, distances=[9_900])
    kept = ArrivalAlert.objects.get()
    loaded: list[int] = []

    def record_alert(sender: object, instance: ArrivalAlert, **_: Any) -> None:
        loaded.append(instance.pk)

    post_init.connect(record_alert, sender=ArrivalAlert)
    try:
        assert record_arrivals(timezone.now()) == 0
        assert loaded == []
        # Those of races that are over are not even counted.
        Race.objects.update(ends=timezone.now())
        with CaptureQueriesContext(connection) as queries:
            assert record_arrivals(timezone.now() + timedelta(hours=1)) == 0
        assert len(queries) == 1
        assert loaded == []
    finally:
        post_init.disconnect(record_alert, sender=ArrivalAlert)
    assert kept.warned is None


def test_due_alerts_are_read_before_the_first_is_written(
    ann: Entry, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(browser, distances=[8_800, 8_900, 9_000])
    steps = []
    due, notify = arrival_alerts._due, arrival_alerts._notify

    def read(*args: Any) -> Iterator[Any]:
        for each in due(*args):
            steps.append("read")
            yield each

    def write(*args: Any) -> int:
        steps.append("write")
        return notify(*args)

    monkeypatch.setattr(arrival_alerts, "_due", read)
    monkeypatch.setattr(arrival_alerts, "_notify", write)
    # More of them are left for the next turn.
    monkeypatch.setattr(arrival_alerts, "MAX_DUE", 2)
    assert [record_arrivals(timezone.now()) for _ in range(3)] == [2, 1, 0]
    assert steps == ["read", "read", "write", "write", "read", "write"]


def test_a_runner_who_hides_meanwhile_is_not_notified(
    ann: Entry, browser: Browser, service: PushService
) -> None:
    choose(browser, distances=[9_000])
    # The delivery is queued before, and sent after the change.
    assert record_arrivals(timezone.now()) == 1
    Runner.objects.update(visibility=Runner.Visibility.PRIVATE)
    notifier = Notifier()
    send_all(notifier)
    assert service.posts == []
    assert notifier.results.failed["rights"] == 1


def test_alerts_end_with_their_race(ann: Entry, browser: Browser) -> None:
    choose(browser, distances=[9_000])
    race = ann.race
    race.ends = timezone.now() - timedelta(minutes=1)
    race.save(update_fields=["ends"])
    send_all(Notifier())
    assert not ArrivalAlert.objects.exists()
