"""Replies of push services, and how they are handled."""

from __future__ import annotations

import socket
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest
from django.utils import timezone
from pytest_django import Settings

from runners.models import Delivery, News, Runner, Sos, Subscription
from runners.models.news import Kind
from runners.notifying.deliveries import spread
from runners.notifying.notifier import (
    MAX_FAILURES,
    SUBSCRIPTION_BURST,
    Notifier,
)
from runners.notifying.push_services import AWAY_AFTER
from runners.notifying.sos import Call, sos_store
from runners.positions.storage import SplitChange, write_rows
from runners.units.clock import milliseconds
from tests.notifying.news import NotifiedRace, alert, send_all
from tests.notifying.push import SILENT, PushService

pytestmark = pytest.mark.django_db


def next_attempt() -> datetime:
    """Return when the only delivery is sent again."""
    return Delivery.objects.get().due_at


@pytest.mark.parametrize("status", [404, 410])
def test_a_gone_subscription_is_deleted(
    alerted: Subscription, notified: NotifiedRace, status: int
) -> None:
    notified.service.statuses.append(status)
    notified.pass_ten()
    assert not Subscription.objects.exists() and not Delivery.objects.exists()
    assert notified.notifier.results.failed == {"gone": 1}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_subscription_at_a_private_address_is_deleted_in_production(
    subscription: Subscription, notified: NotifiedRace, settings: Settings, host: str
) -> None:
    settings.SPECTATE_PUSH_LOCAL = False
    alert(subscription, notified.entry.runner, Kind.CHECKPOINT)
    Subscription.objects.update(endpoint=f"https://{host}/push")
    notified.pass_ten()
    # Refused before connecting: a failed connection would be retried.
    assert notified.notifier.results.failed == {"private": 1}
    assert not Subscription.objects.exists()


def test_a_busy_service_is_retried_later(
    alerted: Subscription, notified: NotifiedRace
) -> None:
    notified.service.statuses.append(503)
    notified.service.headers["Retry-After"] = "90"
    notified.passed()
    before = timezone.now()
    notified.send()
    assert len(notified.service.posts) == 1
    assert before <= next_attempt() - timedelta(seconds=90) <= timezone.now()
    Delivery.objects.update(due_at=timezone.now())
    notified.send()
    assert len(notified.service.posts) == 2 and not Delivery.objects.exists()


@pytest.mark.parametrize("wait", ["3600", "9" * 400])
def test_a_delivery_that_would_be_too_late_is_given_up(
    alerted: Subscription, notified: NotifiedRace, wait: str
) -> None:
    notified.service.statuses.append(503)
    notified.service.headers["Retry-After"] = wait
    notified.pass_ten()
    assert not Delivery.objects.exists()
    assert notified.notifier.results.failed == {"busy": 1, "gave_up": 1}


def test_a_call_for_help_is_retried_for_hours_every_few_minutes(
    subscription: Subscription,
    service: PushService,
    notifier: Notifier,
    bob: Runner,
) -> None:
    alert(subscription, bob, Kind.SOS)
    now = timezone.now()
    sos = Sos.objects.create(runner=bob, key="one", called_at=now)
    News.objects.create(
        kind=Kind.SOS, once="sos", runner=bob, sos=sos, at=now - timedelta(hours=5)
    )
    spread()
    Delivery.objects.update(attempts=70)
    service.statuses.append(503)
    before = timezone.now()
    send_all(notifier)
    assert before <= next_attempt() - timedelta(minutes=4.5) <= timezone.now()


def test_an_unreachable_service_is_retried_after_a_delay(
    alerted: Subscription, notified: NotifiedRace
) -> None:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        port = nobody_listens.getsockname()[1]
        Subscription.objects.update(endpoint=f"http://127.0.0.1:{port}/gone")
        notified.passed()
        before = timezone.now()
        notified.send()
    assert notified.notifier.results.failed == {"unreachable": 1}
    assert before <= next_attempt() - timedelta(seconds=30) <= timezone.now()


def test_redirects_are_not_followed_and_refusals_end_a_subscription(
    alerted: Subscription, notified: NotifiedRace
) -> None:
    notified.service.headers["Location"] = f"{notified.service.url}/elsewhere"
    for number in range(MAX_FAILURES):
        notified.service.statuses.append(302)
        notified.passed(number + 1)
        notified.send()
    assert {post.path for post in notified.service.posts} == {"/push/bob"}
    assert notified.notifier.results.failed == {"refused": MAX_FAILURES}
    assert not Subscription.objects.exists()


def test_deliveries_to_a_subscription_are_limited(
    alerted: Subscription, notified: NotifiedRace
) -> None:
    now = milliseconds(timezone.now())
    write_rows(
        (),
        [
            SplitChange(notified.entry.pk, notified.ten.pk, lap, now, 2.0)
            for lap in range(1, 31)
        ],
    )
    notified.send()
    assert len(notified.service.posts) == SUBSCRIPTION_BURST
    assert notified.notifier.results.failed == {"rate": 10}


def test_one_silent_endpoint_does_not_delay_its_whole_service(
    subscription: Subscription, notified: NotifiedRace
) -> None:
    """The endpoint of a stranger may be at the same service."""
    alert(subscription, notified.entry.runner, Kind.CHECKPOINT)
    notified.notifier.push_turn()
    notified.notifier._push_services._silent[urlsplit(notified.service.url).netloc] = {
        subscription.pk + 1
    }
    notified.service.statuses.append(SILENT)
    notified.pass_ten()
    assert notified.notifier.results.failed == {"unreachable": 1}
    Delivery.objects.update(due_at=timezone.now())
    notified.send()
    assert notified.notifier.results.sent == {"push": 1}
    # A response starts the count anew.
    assert not notified.notifier._push_services._silent


def test_a_service_that_does_not_respond_is_skipped_except_for_calls_for_help(
    subscription: Subscription, notified: NotifiedRace
) -> None:
    alert(subscription, notified.entry.runner, Kind.CHECKPOINT, Kind.SOS)
    notified.notifier.push_turn()
    host = urlsplit(notified.service.url).netloc
    notified.notifier._push_services._silent[host] = {
        subscription.pk + n for n in range(1, AWAY_AFTER)
    }
    notified.service.statuses.append(SILENT)
    notified.pass_ten()
    Delivery.objects.update(due_at=timezone.now())
    notified.send()
    # The second attempt was not made.
    assert len(notified.service.posts) == 1 and notified.notifier.results.failed == {
        "unreachable": 2
    }

    sos_store(
        runner=notified.entry.runner_id,
        call=Call(key="a", called=0, fix=None, battery=None, fine=False),
    )
    News.objects.filter(kind=Kind.SOS).update(at=timezone.now())
    assert notified.notifier.urgent_turn()
    assert notified.notifier.results.sent == {"push": 1}


def test_calls_for_help_do_not_wait_for_other_pushes(
    subscription: Subscription, notified: NotifiedRace
) -> None:
    alert(subscription, notified.entry.runner, Kind.CHECKPOINT, Kind.SOS)
    notified.passed()
    sos_store(
        runner=notified.entry.runner_id,
        call=Call(key="a", called=0, fix=None, battery=None, fine=False),
    )
    News.objects.filter(kind=Kind.SOS).update(at=timezone.now())
    while notified.notifier.urgent_turn():
        pass
    assert len(notified.service.posts) == 1
    assert notified.service.posts[0].headers["urgency"] == "high"
    assert Delivery.objects.get().news.kind == Kind.CHECKPOINT
