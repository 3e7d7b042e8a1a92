"""Several processes and threads send each notification once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from runners.models import Delivery, Subscription
from runners.models.news import Kind
from runners.notifying.deliveries import spread
from runners.notifying.notifier import Notifier
from runners.notifying.subscribing import browser_subscribe
from runners.positions.storage import SplitChange, write_rows
from runners.units.clock import milliseconds
from tests.notifying.news import Bell, alert
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db


def test_two_processes_claim_different_deliveries(
    alerted: Subscription, bell: Bell
) -> None:
    now = milliseconds(timezone.now())
    write_rows(
        (),
        [SplitChange(bell.entry.pk, bell.ten.pk, lap, now, 2.0) for lap in range(1, 7)],
    )
    spread()
    lease = timedelta(seconds=60)
    first, second, third = (
        {d.pk for d in Delivery.objects.claim(by_mail=False, most=3, lease=lease)}
        for _ in range(3)
    )
    assert len(first) == len(second) == 3
    assert first.isdisjoint(second) and not third


def test_deliveries_claimed_by_a_dead_process_are_sent_by_a_different_one(
    alerted: Subscription, bell: Bell
) -> None:
    bell.passed()
    spread()
    claimed = Delivery.objects.claim(by_mail=False, most=9, lease=timedelta(seconds=-1))
    assert len(claimed) == 1
    bell.send()
    assert len(bell.service.posts) == 1


@pytest.mark.django_db(transaction=True)
def test_background_threads_send_and_end(
    alerted: Subscription, bell: Bell, settings: Settings
) -> None:
    bell.notifier.start()
    try:
        bell.passed()
        wait_until(lambda: bell.service.posts)
    finally:
        bell.notifier.stop()
    assert bell.notifier._threads == []


@pytest.mark.django_db(transaction=True)
def test_two_processes_send_each_notification_once(bell: Bell) -> None:
    browsers = [bell.service.browser(f"{number}") for number in range(20)]
    for browser in browsers:
        subscription = browser_subscribe(
            push=browser.subscription, user=None, session="", device="", language="en"
        )
        alert(subscription, bell.entry.runner, Kind.CHECKPOINT)
    processes = [Notifier(), Notifier()]
    for process in processes:
        process.start()
    try:
        bell.passed()
        wait_until(lambda: len(bell.service.posts) >= len(browsers))
    finally:
        for process in processes:
            process.stop()
    assert sorted(post.path for post in bell.service.posts) == sorted(
        f"/push/{number}" for number in range(20)
    )
