"""A web push, from what happens on the course to the browser that reads it."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
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
from runners.models.news import KINDS, Kind
from runners.notifying import webpush
from runners.notifying.deliveries import note_silences
from runners.notifying.notifier import Notifier
from runners.notifying.subscribing import alerts_set, browser_subscribe
from runners.positions.fix import milliseconds
from runners.positions.storage import SplitChange, StatusChange, write_rows
from tests.notifying.news import passed, tell
from tests.notifying.push import Browser, PushService, claims_of, push_service

pytestmark = pytest.mark.django_db

DAY = 24 * 3_600  # seconds


def test_checkpoint_is_pushed_encrypted_and_signed(
    place: Subscription,
    browser: Browser,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])

    passed(entry, ten)
    tell(notifier)

    (post,) = service.posts
    assert post.path == "/push/bob"
    assert b"Bob" not in post.body
    message = browser.read(post.body)
    assert message["title"] == "Bob at 10 km"
    assert message["body"].endswith(" Riverside Half.")
    assert (message["url"], message["runner"]) == ("/runners/bob/", "bob")
    assert claims_of(post.headers)["aud"] == service.url
    assert post.headers["content-encoding"] == "aes128gcm"
    assert 0 < int(post.headers["ttl"]) <= 900
    assert not Delivery.objects.exists()
    assert (notifier.queued, notifier.sent["push"]) == (1, 1)


def test_signature_names_the_service_that_the_push_goes_to(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    with push_service() as other:
        elsewhere = browser_subscribe(
            push=other.browser().subscription,
            user=None,
            session="",
            device="",
            language="en",
        )
        for subscription in (place, elsewhere):
            alerts_set(
                place=subscription, runners=[entry.runner], kinds=[Kind.CHECKPOINT]
            )
        passed(entry, ten)
        tell(notifier)
        audiences = [
            [claims_of(post.headers)["aud"] for post in each.posts]
            for each in (service, other)
        ]
        assert audiences == [[service.url], [other.url]]


def test_signature_is_valid_now_and_expires_within_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = int(time.time())
    for now in range(started, started + 2 * DAY, DAY // 50):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        headers = webpush.headers(
            "https://push.example.org/1", ttl=0, urgent=False, topic=""
        )
        expires = claims_of({"authorization": headers["Authorization"]})["exp"]
        # RFC 8292, section 2: "MUST NOT be more than 24 hours" ahead.
        assert now < expires <= now + DAY


def test_what_is_stored_again_is_told_once(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=list(KINDS))
    for _ in range(2):
        passed(entry, ten)
        tell(notifier)
    assert len(service.posts) == 1


def test_start_and_finish_are_news_of_their_own(
    place: Subscription,
    browser: Browser,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    race: Race,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=list(KINDS))
    line = Checkpoint.objects.create(
        race=race, name="Finish", distance=21_097, kind=Checkpoint.Kind.FINISH
    )
    now = milliseconds(timezone.now())
    started = now - 120_000
    write_rows((), [StatusChange(entry.pk, "started", started, None)])
    write_rows(
        (),
        [
            SplitChange(entry.pk, line.pk, 1, now, 1.0),
            StatusChange(entry.pk, "finished", started, now),
        ],
    )
    tell(notifier)
    told = sorted(browser.read(post.body)["title"] for post in service.posts)
    assert told == ["Bob has finished", "Bob has started"]


@pytest.mark.parametrize(
    ("started", "finished", "told"),
    [
        (10, None, ["Bob has started"]),
        (20, None, []),
        (120, None, []),
        (120, 1, ["Bob has finished"]),
        (200, 100, ["Bob has finished"]),
        (300, 140, []),
    ],
)
def test_start_is_news_for_a_quarter_of_an_hour_and_a_finish_for_two(
    place: Subscription,
    browser: Browser,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    started: int,
    finished: int | None,
    told: list[str],
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=list(KINDS))
    now = milliseconds(timezone.now())
    at = finished and now - finished * 60_000
    status = "started" if at is None else "finished"
    write_rows((), [StatusChange(entry.pk, status, now - started * 60_000, at)])
    tell(notifier)
    assert [browser.read(post.body)["title"] for post in service.posts] == told
    assert not Delivery.objects.exists()


def test_nothing_is_kept_of_whom_nobody_asks_for(entry: Entry, ten: Checkpoint) -> None:
    passed(entry, ten)
    assert not News.objects.exists()


def test_only_chosen_kinds_are_told(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.FINISH])
    passed(entry, ten)
    tell(notifier)
    assert service.posts == []


def test_checkpoint_of_an_hour_ago_is_no_news(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])
    passed(entry, ten, minutes_ago=60)
    tell(notifier)
    assert service.posts == []


def silent(runner: Runner, *, minutes: float) -> None:
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


def test_silence_is_told_once_each_time(
    place: Subscription,
    browser: Browser,
    service: PushService,
    entry: Entry,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.SILENCE])
    silent(entry.runner, minutes=9)
    tell(Notifier())
    assert service.posts == []
    silent(entry.runner, minutes=11)
    for _ in range(2):
        tell(Notifier())
    assert [browser.read(p.body)["title"] for p in service.posts] == [
        "No signal from Bob"
    ]


@pytest.mark.parametrize("why", ["paused", "finished", "hidden by the runner"])
def test_who_shares_nothing_any_more_is_not_silent(entry: Entry, why: str) -> None:
    place = Subscription.objects.create(
        endpoint="https://push.example.org/1", digest="1", confirmed_at=timezone.now()
    )
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.SILENCE])
    silent(entry.runner, minutes=11)
    if why == "paused":
        entry.runner.pauses.create(started_at=timezone.now())
    elif why == "finished":
        Entry.objects.update(status="finished", finished_at=timezone.now())
    else:
        Runner.objects.update(sharing_ends_at=timezone.now() - timedelta(minutes=5))
    note_silences()
    assert not News.objects.exists()
