"""Who may not be told, or does not want to be, by the time of sending."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from runners.models import (
    Alert,
    Checkpoint,
    Entry,
    Follow,
    Race,
    Runner,
    ShareLink,
    Subscription,
)
from runners.models.news import KINDS, Kind
from runners.notifying.deliveries import spread
from runners.notifying.notifier import Notifier
from runners.notifying.subscribing import alerts_set, browser_subscribe
from runners.positions.fix import milliseconds
from runners.positions.storage import StatusChange, write_rows
from tests.notifying.news import passed, tell
from tests.notifying.push import Browser, PushService

pytestmark = pytest.mark.django_db


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

    passed(entry, ten, 2)
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
    passed(entry, ten, 2)
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
    write_rows((), [StatusChange(entry.pk, "started", now, None)])
    tell(notifier)
    (post,) = service.posts
    message = browser.read(post.body)
    assert message["title"] == "Bob has started"
    assert "Riverside" not in str(message)


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
