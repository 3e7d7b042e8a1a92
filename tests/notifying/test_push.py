"""Web push from an event of a race to the browser that decrypts it."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from runners.models import (
    Checkpoint,
    Delivery,
    Entry,
    LatestPosition,
    News,
    Race,
    Runner,
    Subscription,
)
from runners.models.news import Kind
from runners.notifying import webpush
from runners.notifying.deliveries import record_states, spread
from runners.notifying.notifier import Notifier
from runners.positions.storage import SplitChange, StatusChange, write_rows
from runners.units.clock import milliseconds
from tests.notifying.news import NotifiedRace, alert, passed, send_all
from tests.notifying.push import Browser, claims_of, push_service

pytestmark = pytest.mark.django_db

DAY_S = 24 * 3_600


def test_a_checkpoint_is_pushed_encrypted_and_signed(
    alerted: Subscription, browser: Browser, notified: NotifiedRace
) -> None:
    notified.pass_ten()

    (post,) = notified.service.posts
    assert post.path == "/push/bob"
    assert b"Bob" not in post.body
    message = browser.read(post.body)
    assert message["title"] == "Bob at 10 km"
    assert message["body"].endswith(" Riverside Half.")
    assert (message["url"], message["runner"]) == ("/runners/bob/", "bob")
    assert claims_of(post.headers)["aud"] == notified.service.url
    assert post.headers["content-encoding"] == "aes128gcm"
    assert 0 < int(post.headers["ttl"]) <= 900
    assert not Delivery.objects.exists()
    assert (notified.notifier.queued, notified.notifier.results.sent["push"]) == (1, 1)


def test_the_signature_names_the_push_service(
    subscription: Subscription, notified: NotifiedRace
) -> None:
    with push_service() as other:
        other_subscription = other.browser().subscribe()
        for each in (subscription, other_subscription):
            alert(each, notified.entry.runner, Kind.CHECKPOINT)
        notified.pass_ten()
        audiences = [
            [claims_of(post.headers)["aud"] for post in each.posts]
            for each in (notified.service, other)
        ]
        assert audiences == [[notified.service.url], [other.url]]


def test_the_signature_is_valid_now_and_expires_within_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = int(time.time())
    for now in range(started, started + 2 * DAY_S, DAY_S // 50):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        headers = webpush.headers(
            "https://push.example.org/1", ttl=0, urgent=False, topic=""
        )
        expires = claims_of({"authorization": headers["Authorization"]})["exp"]
        # RFC 8292, section 2: "MUST NOT be more than 24 hours" ahead.
        assert now < expires <= now + DAY_S


def test_a_split_that_is_stored_twice_is_notified_once(
    subscription: Subscription, notified: NotifiedRace
) -> None:
    alert(subscription, notified.entry.runner)
    for _ in range(2):
        notified.pass_ten()
    assert len(notified.service.posts) == 1


def test_start_and_finish_are_separate_notifications(
    subscription: Subscription, browser: Browser, notified: NotifiedRace, race: Race
) -> None:
    alert(subscription, notified.entry.runner)
    line = Checkpoint.objects.create(
        race=race, name="Finish", distance=21_097, kind=Checkpoint.Kind.FINISH
    )
    now = milliseconds(timezone.now())
    started = now - 120_000
    write_rows((), [StatusChange(notified.entry.pk, "started", started, None)])
    write_rows(
        (),
        [
            SplitChange(notified.entry.pk, line.pk, 1, now, 1.0),
            StatusChange(notified.entry.pk, "finished", started, now),
        ],
    )
    notified.send()
    titles = sorted(browser.read(post.body)["title"] for post in notified.service.posts)
    assert titles == ["Bob has finished", "Bob has started"]


@pytest.mark.parametrize(
    ("started", "finished", "titles"),
    [
        (10, None, ["Bob has started"]),
        (20, None, []),
        (120, None, []),
        (120, 1, ["Bob has finished"]),
        (200, 100, ["Bob has finished"]),
        (300, 140, []),
    ],
)
def test_a_start_is_news_for_15_minutes_and_a_finish_for_two_hours(
    subscription: Subscription,
    browser: Browser,
    notified: NotifiedRace,
    started: int,
    finished: int | None,
    titles: list[str],
) -> None:
    alert(subscription, notified.entry.runner)
    now = milliseconds(timezone.now())
    at = finished and now - finished * 60_000
    status = "started" if at is None else "finished"
    write_rows(
        (), [StatusChange(notified.entry.pk, status, now - started * 60_000, at)]
    )
    notified.send()
    assert [
        browser.read(post.body)["title"] for post in notified.service.posts
    ] == titles
    assert not Delivery.objects.exists()


def test_no_news_is_stored_without_a_subscriber(entry: Entry, ten: Checkpoint) -> None:
    passed(entry, ten)
    assert not News.objects.exists()


def test_only_chosen_kinds_are_notified(
    subscription: Subscription, notified: NotifiedRace
) -> None:
    alert(subscription, notified.entry.runner, Kind.FINISH)
    notified.pass_ten()
    assert notified.service.posts == []


def test_a_checkpoint_an_hour_ago_is_no_news(
    alerted: Subscription, notified: NotifiedRace
) -> None:
    notified.passed(minutes_ago=60)
    notified.send()
    # It was queued in time, and nothing was sent for an hour.
    notified.passed(lap=2)
    assert spread() == 1
    News.objects.update(at=F("at") - timedelta(hours=1))
    notified.send()
    assert notified.service.posts == []
    assert notified.notifier.results.failed == {"old": 1}


def set_silent(runner: Runner, *, minutes: float) -> None:
    moment = timezone.now() - timedelta(minutes=minutes)
    LatestPosition.objects.update_or_create(
        runner=runner,
        defaults={
            "recorded_at": moment,
            "contact_at": moment,
            "lat": 53.3,
            "lng": -6.3,
            "source": "websocket",
        },
    )


def test_a_silence_is_notified_once(
    subscription: Subscription, browser: Browser, notified: NotifiedRace
) -> None:
    alert(subscription, notified.entry.runner, Kind.SILENCE)
    set_silent(notified.entry.runner, minutes=9)
    send_all(Notifier())
    assert notified.service.posts == []
    set_silent(notified.entry.runner, minutes=11)
    for _ in range(2):
        send_all(Notifier())
    assert [browser.read(p.body)["title"] for p in notified.service.posts] == [
        "No signal from Bob"
    ]


@pytest.mark.parametrize("why", ["paused", "finished", "hidden by the runner"])
def test_a_runner_who_stopped_sharing_is_not_silent(entry: Entry, why: str) -> None:
    subscription = Subscription.objects.create(
        endpoint="https://push.example.org/1", digest="1", confirmed_at=timezone.now()
    )
    alert(subscription, entry.runner, Kind.SILENCE)
    set_silent(entry.runner, minutes=11)
    if why == "paused":
        entry.runner.pauses.create(started_at=timezone.now())
    elif why == "finished":
        Entry.objects.update(status="finished", finished_at=timezone.now())
    else:
        Runner.objects.update(sharing_ends_at=timezone.now() - timedelta(minutes=5))
    record_states(timezone.now())
    assert not News.objects.exists()
