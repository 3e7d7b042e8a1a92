"""Rights and choices are checked when a notification is sent."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from runners.models import (
    Alert,
    Follow,
    Race,
    Runner,
    Subscription,
)
from runners.models.news import Kind
from runners.notifying.deliveries import spread
from runners.notifying.subscribing import alerts_set
from runners.positions.storage import StatusChange, write_rows
from runners.units.clock import milliseconds
from tests.factories.people import make_link
from tests.notifying.news import NotifiedRace, alert
from tests.notifying.push import Browser

pytestmark = pytest.mark.django_db


def test_a_subscriber_who_lost_the_right_is_not_notified(
    alice: User, browser: Browser, notified: NotifiedRace
) -> None:
    bob = notified.entry.runner
    bob.visibility = Runner.Visibility.FOLLOWERS
    bob.save()
    follow = Follow.objects.create(user=alice, runner=bob, status="accepted")
    subscription = browser.subscribe(alice)
    alert(subscription, bob, Kind.CHECKPOINT)
    notified.pass_ten()
    assert len(notified.service.posts) == 1

    notified.passed(2)
    follow.status = "blocked"
    follow.save()
    notified.send()
    assert len(notified.service.posts) == 1
    assert notified.notifier.results.failed == {"rights": 1}


def test_a_link_shows_a_private_runner_until_it_ends(
    subscription: Subscription, notified: NotifiedRace
) -> None:
    bob = notified.entry.runner
    bob.visibility = Runner.Visibility.PRIVATE
    bob.save()
    link, _ = make_link(bob)
    alerts_set(
        subscription=subscription, runners=[bob], kinds=[Kind.CHECKPOINT], link=link
    )
    notified.pass_ten()
    assert len(notified.service.posts) == 1
    link.revoke()
    notified.pass_ten(2)
    assert len(notified.service.posts) == 1


def test_an_unlisted_race_is_not_named(
    subscription: Subscription, browser: Browser, notified: NotifiedRace, race: Race
) -> None:
    race.visibility = Race.Visibility.LINK
    race.save()
    alert(subscription, notified.entry.runner)
    notified.passed()
    now = milliseconds(timezone.now())
    write_rows((), [StatusChange(notified.entry.pk, "started", now, None)])
    notified.send()
    (post,) = notified.service.posts
    message = browser.read(post.body)
    assert message["title"] == "Bob has started"
    assert "Riverside" not in str(message)


def test_a_stopped_alert_is_not_sent(
    alerted: Subscription, notified: NotifiedRace
) -> None:
    notified.passed()
    spread()
    Alert.objects.all().delete()
    notified.send()
    assert notified.service.posts == []
    assert notified.notifier.results.failed == {"stopped": 1}
