"""Rights and choices are checked when a notification is sent."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from runners.models import (
    Alert,
    Follow,
    Race,
    Runner,
    ShareLink,
    Subscription,
)
from runners.models.news import Kind
from runners.notifying.deliveries import spread
from runners.notifying.subscribing import alerts_set, browser_subscribe
from runners.positions.storage import StatusChange, write_rows
from runners.units.clock import milliseconds
from tests.notifying.news import Bell, alert
from tests.notifying.push import Browser

pytestmark = pytest.mark.django_db


def test_a_subscriber_who_lost_the_right_is_not_notified(
    alice: User, browser: Browser, bell: Bell
) -> None:
    bob = bell.entry.runner
    bob.visibility = Runner.Visibility.FOLLOWERS
    bob.save()
    follow = Follow.objects.create(user=alice, runner=bob, status="accepted")
    subscription = browser_subscribe(
        push=browser.subscription, user=alice, session="", device="", language="en"
    )
    alert(subscription, bob, Kind.CHECKPOINT)
    bell.pass_ten()
    assert len(bell.service.posts) == 1

    bell.passed(2)
    follow.status = "blocked"
    follow.save()
    bell.send()
    assert len(bell.service.posts) == 1
    assert bell.notifier.results.failed == {"rights": 1}


def test_a_link_shows_a_private_runner_until_it_ends(
    subscription: Subscription, bell: Bell
) -> None:
    bob = bell.entry.runner
    bob.visibility = Runner.Visibility.PRIVATE
    bob.save()
    link, _ = ShareLink.objects.issue(
        label="Mum", expires_at=timezone.now() + timedelta(hours=1), runners=[bob]
    )
    alerts_set(
        subscription=subscription, runners=[bob], kinds=[Kind.CHECKPOINT], link=link
    )
    bell.pass_ten()
    assert len(bell.service.posts) == 1
    link.revoke()
    bell.pass_ten(2)
    assert len(bell.service.posts) == 1


def test_an_unlisted_race_is_not_named(
    subscription: Subscription, browser: Browser, bell: Bell, race: Race
) -> None:
    race.visibility = Race.Visibility.LINK
    race.save()
    alert(subscription, bell.entry.runner)
    bell.passed()
    now = milliseconds(timezone.now())
    write_rows((), [StatusChange(bell.entry.pk, "started", now, None)])
    bell.send()
    (post,) = bell.service.posts
    message = browser.read(post.body)
    assert message["title"] == "Bob has started"
    assert "Riverside" not in str(message)


def test_a_stopped_alert_is_not_sent(alerted: Subscription, bell: Bell) -> None:
    bell.passed()
    spread()
    Alert.objects.all().delete()
    bell.send()
    assert bell.service.posts == []
    assert bell.notifier.results.failed == {"stopped": 1}
