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
from runners.positions.storage import SplitChange, write_rows
from runners.units.clock import milliseconds
from tests.notifying.news import NotifiedRace, alert
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db


def test_two_processes_claim_different_deliveries(
    alerted: Subscription, notified: NotifiedRace
) -> None:
    now = milliseconds(timezone.now())
    write_rows(
        (),
        [
            SplitChange(notified.entry.pk, notified.ten.pk, lap, now, 2.0)
            for lap in range(1, 7)
        ],
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
    alerted: Subscription, notified: NotifiedRace
) -> None:
    notified.passed()
    spread()
    claimed = Delivery.objects.claim(by_mail=False, most=9, lease=timedelta(seconds=-1))
    assert len(claimed) == 1
    notified.send()
    assert len(notified.service.posts) == 1


@pytest.mark.django_db(transaction=True)
def test_background_threads_send_and_end(
    alerted: Subscription, notified: NotifiedRace, settings: Settings
) -> None:
    notified.notifier.start()
    try:
        notified.passed()
        wait_until(lambda: notified.service.posts)
    finally:
        notified.notifier.stop()
    assert notified.notifier._threads == []


@pytest.mark.django_db(transaction=True)
def test_two_processes_send_each_notification_once(notified: NotifiedRace) -> None:
    browsers = [notified.service.browser(f"{number}") for number in range(20)]
    for browser in browsers:
        subscription = browser.subscribe()
        alert(subscription, notified.entry.runner, Kind.CHECKPOINT)
    processes = [Notifier(), Notifier()]
    for process in processes:
        process.start()
    try:
        notified.passed()
        wait_until(lambda: len(notified.service.posts) >= len(browsers))
    finally:
        for process in processes:
            process.stop()
    assert sorted(post.path for post in notified.service.posts) == sorted(
        f"/push/{number}" for number in range(20)
    )
