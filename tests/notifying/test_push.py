"""A web push, from what happens on the course to the browser that reads it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from runners.models import (
    Alert,
    Checkpoint,
    Delivery,
    Entry,
    Follow,
    LatestPosition,
    News,
    Race,
    Runner,
    ShareLink,
    Sos,
    Subscription,
)
from runners.models.news import KINDS, Kind
from runners.notifying import sender
from runners.notifying.sender import Notifier
from runners.notifying.spreading import note_silences, spread
from runners.notifying.subscribing import alerts_set, browser_subscribe
from runners.positions.fix import milliseconds
from runners.positions.writing import Passing, Progressed, write
from tests.notifying.push import Browser, PushService
from tests.servers import wait_until

pytestmark = pytest.mark.django_db


def passed(entry: Entry, checkpoint: Checkpoint, *, minutes_ago: float = 0) -> None:
    """Store that a checkpoint was passed, as the recorder does."""
    at = milliseconds(timezone.now() - timedelta(minutes=minutes_ago))
    write((), [Passing(entry.pk, checkpoint.pk, 1, at, 2.0)])


def tell(notifier: Notifier) -> None:
    """Do what the background does until nothing is left to be done now."""
    while notifier.push_turn():
        pass


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
    assert post.claims_verified()
    assert post.headers["content-encoding"] == "aes128gcm"
    assert 0 < int(post.headers["ttl"]) <= 900
    assert not Delivery.objects.exists()
    assert (notifier.queued, notifier.sent["push"]) == (1, 1)


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
    write((), [Progressed(entry.pk, "started", started, None)])
    write(
        (),
        [
            Passing(entry.pk, line.pk, 1, now, 1.0),
            Progressed(entry.pk, "finished", started, now),
        ],
    )
    tell(notifier)
    told = sorted(browser.read(post.body)["title"] for post in service.posts)
    assert told == ["Bob has finished", "Bob has started"]


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


# Rights at the time of sending


def test_who_lost_the_right_is_not_told(
    alice: User,
    browser: Browser,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    bob = entry.runner
    bob.visibility = Runner.Visibility.FOLLOWERS
    bob.save()
    follow = Follow.objects.create(user=alice, runner=bob, status="accepted")
    place = browser_subscribe(
        push=browser.subscription, user=alice, session="", device="", language="en"
    )
    alerts_set(place=place, runners=[bob], kinds=[Kind.CHECKPOINT])
    passed(entry, ten)
    tell(notifier)
    assert len(service.posts) == 1

    write((), [Passing(entry.pk, ten.pk, 2, milliseconds(timezone.now()), 2.0)])
    follow.status = "blocked"
    follow.save()
    tell(notifier)
    assert len(service.posts) == 1
    assert notifier.failed == {"rights": 1}


def test_link_shows_a_private_runner_until_it_ends(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    bob = entry.runner
    bob.visibility = Runner.Visibility.PRIVATE
    bob.save()
    link, _ = ShareLink.objects.issue(
        label="Mum", expires_at=timezone.now() + timedelta(hours=1), runners=[bob]
    )
    alerts_set(place=place, runners=[bob], kinds=[Kind.CHECKPOINT], link=link)
    passed(entry, ten)
    tell(notifier)
    assert len(service.posts) == 1
    link.revoke()
    write((), [Passing(entry.pk, ten.pk, 2, milliseconds(timezone.now()), 2.0)])
    tell(notifier)
    assert len(service.posts) == 1


def test_unlisted_race_is_named_to_nobody(
    place: Subscription,
    browser: Browser,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
    race: Race,
) -> None:
    race.visibility = Race.Visibility.LINK
    race.save()
    alerts_set(place=place, runners=[entry.runner], kinds=list(KINDS))
    passed(entry, ten)
    now = milliseconds(timezone.now())
    write((), [Progressed(entry.pk, "started", now, None)])
    tell(notifier)
    (post,) = service.posts
    message = browser.read(post.body)
    assert message["title"] == "Bob has started"
    assert "Riverside" not in str(message)


# What push services answer


@pytest.mark.parametrize("status", [404, 410])
def test_subscription_that_is_gone_is_forgotten(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
    status: int,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])
    service.statuses.append(status)
    passed(entry, ten)
    tell(notifier)
    assert not Subscription.objects.exists() and not Delivery.objects.exists()
    assert notifier.failed == {"gone": 1}


def test_busy_service_is_asked_again_later(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])
    service.statuses.append(503)
    service.headers["Retry-After"] = "90"
    passed(entry, ten)
    tell(notifier)
    assert len(service.posts) == 1
    wait = Delivery.objects.get().due_at - timezone.now()
    assert timedelta(seconds=80) < wait <= timedelta(seconds=90)
    Delivery.objects.update(due_at=timezone.now())
    tell(notifier)
    assert len(service.posts) == 2 and not Delivery.objects.exists()


@pytest.mark.parametrize("wait", ["3600", "9" * 400])
def test_what_is_no_news_by_then_is_given_up(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
    wait: str,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])
    service.statuses.append(503)
    service.headers["Retry-After"] = wait
    passed(entry, ten)
    tell(notifier)
    assert not Delivery.objects.exists()
    assert notifier.failed == {"busy": 1, "gave_up": 1}


def test_call_for_help_is_tried_for_hours_every_few_minutes(
    place: Subscription, service: PushService, notifier: Notifier, bob: Runner
) -> None:
    alerts_set(place=place, runners=[bob], kinds=[Kind.SOS])
    now = timezone.now()
    sos = Sos.objects.create(runner=bob, key="one", called_at=now)
    news = News.objects.create(
        kind=Kind.SOS, once="sos", runner=bob, sos=sos, at=now - timedelta(hours=5)
    )
    spread()
    Delivery.objects.update(attempts=70)
    service.statuses.append(503)
    tell(notifier)
    wait = Delivery.objects.get(news=news).due_at - timezone.now()
    assert timedelta(minutes=4) < wait < timedelta(minutes=5)


def test_service_that_cannot_be_reached_is_left_alone_for_a_while(
    place: Subscription,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])
    Subscription.objects.update(endpoint="http://127.0.0.1:9/gone")
    passed(entry, ten)
    tell(notifier)
    assert notifier.failed == {"unreachable": 1}
    assert Delivery.objects.get().due_at > timezone.now() + timedelta(seconds=20)


def test_redirect_leads_nowhere_and_refusals_end_a_subscription(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])
    service.headers["Location"] = f"{service.url}/elsewhere"
    for number in range(sender.MOST_FAILURES):
        service.statuses.append(302)
        now = milliseconds(timezone.now())
        write((), [Passing(entry.pk, ten.pk, number + 1, now, 2.0)])
        tell(notifier)
    assert {post.path for post in service.posts} == {"/push/bob"}
    assert notifier.failed == {"refused": sender.MOST_FAILURES}
    assert not Subscription.objects.exists()


def test_place_is_not_flooded(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])
    now = milliseconds(timezone.now())
    write((), [Passing(entry.pk, ten.pk, lap, now, 2.0) for lap in range(1, 31)])
    tell(notifier)
    assert len(service.posts) == sender.PLACE_BURST
    assert notifier.failed == {"rate": 10}


# Several processes


def test_two_processes_claim_different_deliveries(
    place: Subscription, entry: Entry, ten: Checkpoint
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])
    now = milliseconds(timezone.now())
    write((), [Passing(entry.pk, ten.pk, lap, now, 2.0) for lap in range(1, 7)])
    spread()
    lease = timedelta(seconds=60)
    first, second, third = (
        {d.pk for d in Delivery.objects.claim(by_mail=False, most=3, lease=lease)}
        for _ in range(3)
    )
    assert len(first) == len(second) == 3
    assert first.isdisjoint(second) and not third


def test_what_a_dead_process_had_claimed_is_sent_by_another(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])
    passed(entry, ten)
    spread()
    claimed = Delivery.objects.claim(by_mail=False, most=9, lease=timedelta(seconds=-1))
    assert len(claimed) == 1
    tell(notifier)
    assert len(service.posts) == 1


def test_alert_that_was_stopped_meanwhile_is_not_told(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])
    passed(entry, ten)
    spread()
    Alert.objects.all().delete()
    tell(notifier)
    assert service.posts == []
    assert notifier.failed == {"stopped": 1}


@pytest.mark.django_db(transaction=True)
def test_background_threads_tell_and_end(
    place: Subscription,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    ten: Checkpoint,
    settings: Settings,
) -> None:
    alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])
    notifier.start()
    try:
        passed(entry, ten)
        wait_until(lambda: service.posts)
    finally:
        notifier.stop()
    assert notifier._threads == []


@pytest.mark.django_db(transaction=True)
def test_two_processes_tell_everything_once(
    service: PushService, entry: Entry, ten: Checkpoint
) -> None:
    browsers = [service.browser(f"{number}") for number in range(20)]
    for browser in browsers:
        place = browser_subscribe(
            push=browser.subscription, user=None, session="", device="", language="en"
        )
        alerts_set(place=place, runners=[entry.runner], kinds=[Kind.CHECKPOINT])
    processes = [Notifier(), Notifier()]
    for process in processes:
        process.start()
    try:
        passed(entry, ten)
        wait_until(lambda: len(service.posts) >= len(browsers))
    finally:
        for process in processes:
            process.stop()
    assert sorted(post.path for post in service.posts) == sorted(
        f"/push/{number}" for number in range(20)
    )
