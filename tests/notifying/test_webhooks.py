"""Webhooks from an event of a race to a receiver that checks their signature."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from standardwebhooks.webhooks import Webhook as Signer
from tablib import Dataset

from runners.models import (
    Entry,
    News,
    Passing,
    Pause,
    Race,
    Runner,
    Split,
    Webhook,
    WebhookMessage,
)
from runners.models.race_role import Role
from runners.notifying import webhook_sender
from runners.notifying.deliveries import record_states, spread
from runners.notifying.webhook_sender import NOT_PERMITTED, WebhookSender
from runners.races.entries import entry_mark, splits_set
from runners.rights.roles import role_set
from runners.startlist.importing import start_list_import
from runners.timing.reads import read_of
from runners.timing.storage import passings_store
from runners.units.clock import milliseconds
from tests.factories.people import signed_in
from tests.factories.positions import make_latest
from tests.notifying.news import NotifiedRace, passed
from tests.notifying.push import SILENT, Post, PushService
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def permit(user: User, *codes: str) -> None:
    user.user_permissions.add(*Permission.objects.filter(codename__in=codes))


@pytest.fixture
def organiser(db: None) -> User:
    organiser = User.objects.create_user("olga", is_staff=True)
    permit(organiser, "change_race")
    return organiser


@pytest.fixture
def webhook(organiser: User, race: Race, service: PushService) -> Webhook:
    return Webhook.objects.create(
        name="Results", url=f"{service.url}/hook", account=organiser, race=race
    )


def deliver(until: Callable[[], bool]) -> WebhookSender:
    """Deliver messages until a condition is true."""
    sender = WebhookSender()

    async def run() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await sender.deliver(until)

    # The ORM refuses to run in a thread with an event loop.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(run())
    return sender


def read(post: Post, webhook: Webhook) -> Any:
    """Return the body of a message, after checking its signature."""
    return Signer(webhook.secret).verify(post.body, post.headers)


def test_a_split_is_signed_and_delivered_once(
    webhook: Webhook, notified: NotifiedRace
) -> None:
    notified.passed()
    spread()
    (split,) = Split.objects.all()
    # The phone's next fix corrects it.
    notified.passed()
    spread()
    sender = deliver(lambda: len(notified.service.posts) == 1)
    message = read(notified.service.posts[0], webhook)
    assert message["type"] == "entry.split"
    time = message["data"].pop("time")
    assert milliseconds(split.time) == milliseconds(datetime.fromisoformat(time))
    assert message["data"] == {
        **{"race": "half", "bib": "17", "code": "bob"},
        **{"checkpoint": "10 km", "pass": 1},
    }
    assert sender.delivered == 1
    (sent,) = WebhookMessage.objects.all()
    assert (sent.result, sent.attempts, sent.due_at) == ("HTTP 201", 1, None)
    assert notified.service.posts[0].headers["webhook-id"] == sent.message_id


def test_the_office_and_phones_cause_the_same_messages(
    webhook: Webhook, notified: NotifiedRace, race: Race
) -> None:
    finish = race.checkpoints.create(name="Finish", distance=21_000, kind="finish")
    now = timezone.now()
    splits_set(
        splits=[
            Split.objects.create(
                entry=notified.entry, checkpoint=each, time=now, by_hand=True
            )
            for each in (notified.ten, finish)
        ]
    )
    entry_mark(entry=notified.entry, status=Entry.Status.DNF)
    spread()
    entry_mark(entry=notified.entry, status=Entry.Status.DSQ)
    spread()
    deliver(lambda: len(notified.service.posts) == 4)
    messages = [read(post, webhook) for post in notified.service.posts]
    assert [message["type"] for message in messages] == [
        *("entry.split", "entry.finished", "entry.out", "entry.out")
    ]
    statuses = [message["data"]["status"] for message in messages[2:]]
    assert statuses == ["dnf", "dsq"]


def test_mats_cause_the_same_messages(
    webhook: Webhook, race: Race, notified: NotifiedRace
) -> None:
    race.checkpoints.create(name="Start", distance=0, kind="start")
    race.checkpoints.create(name="Finish", distance=21_000, kind="finish")
    minutes = {"Start": 1, "10 km": 30, "Finish": 59}
    reads = [
        read_of(name, name, notified.entry.bib, race.start + timedelta(minutes=after))
        for name, after in minutes.items()
    ]
    passings_store(race=race, source=Passing.Source.MYLAPS, reads=reads)
    spread()
    kinds = WebhookMessage.objects.values_list("kind", flat=True)
    assert {"entry.started", "entry.split", "entry.finished"} <= set(kinds)


def test_a_changed_entry_is_a_message_with_what_it_is_now(
    webhook: Webhook, notified: NotifiedRace, race: Race
) -> None:
    wave = race.waves.create(name="A", start=race.start)
    header = ["row", "bib", "name", "code", "category", "wave", "visibility"]
    row = [1, "18", "Bob", "bob", "M40", "A", ""]
    for _ in range(2):  # the second time, nothing changes
        start_list_import(
            race=race,
            table=Dataset(row, headers=header),
            managed=Runner.objects.all(),
        )
    notified.entry.refresh_from_db()
    assert notified.entry.wave == wave
    spread()
    entry_mark(entry=notified.entry, status=Entry.Status.REGISTERED)
    office = signed_in(User.objects.create_superuser("office"))
    form = {"bib": "18", "status": "registered", "category": "W40"} | {
        f"splits-{name}_FORMS": 0 for name in ("TOTAL", "INITIAL")
    }
    office.post(f"/admin/runners/entry/{notified.entry.pk}/change/", form)
    spread()
    deliver(lambda: len(notified.service.posts) == 3)
    messages = [read(post, webhook) for post in notified.service.posts]
    assert [message["type"] for message in messages] == ["entry.changed"] * 3
    assert messages[0]["data"] | {"time": ""} == {
        **{"race": "half", "bib": "18", "code": "bob", "time": "", "name": "Bob"},
        **{"category": "M40", "club": "", "wave": "A", "status": "started"},
    }
    assert messages[2]["data"]["category"] == "W40"


def test_a_runner_off_course_is_told_once_for_each_time(
    webhook: Webhook, bob: Runner, entry: Entry
) -> None:
    now = timezone.now()
    latest = make_latest(bob, now)
    for since in (1_000, 1_000, 2_000):
        left = milliseconds(now) - since
        latest.race_state = {
            "entry": entry.pk,
            "state": {"g": 0, "s": "off_course", "os": left},
        }
        latest.save()
        record_states(now)
    spread()
    kinds = WebhookMessage.objects.values_list("kind", flat=True)
    assert list(kinds) == ["entry.off_course"] * 2


def test_a_paused_runner_is_not_told_to_be_off_course(
    webhook: Webhook, bob: Runner, entry: Entry
) -> None:
    now = timezone.now()
    left = milliseconds(now) - 1_000
    make_latest(
        bob,
        now,
        race_state={"entry": entry.pk, "state": {"s": "off_course", "os": left}},
    )
    Pause.objects.create(runner=bob, started_at=now)
    record_states(now)
    assert not News.objects.exists()


def test_a_failed_attempt_is_repeated_with_the_same_id(
    webhook: Webhook, notified: NotifiedRace
) -> None:
    notified.service.statuses = [500]
    notified.passed()
    spread()
    deliver(lambda: len(notified.service.posts) == 1)
    (message,) = WebhookMessage.objects.select_related("webhook")
    assert message.result == "HTTP 500"
    assert message.due_at is not None
    assert message.due_at > timezone.now()
    assert message.webhook.failing_since is not None
    WebhookMessage.objects.update(due_at=timezone.now())
    deliver(lambda: len(notified.service.posts) == 2)
    first, second = notified.service.posts
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    webhook.refresh_from_db()
    assert webhook.failing_since is None


def test_a_receiver_that_is_gone_is_disabled_and_its_messages_wait(
    webhook: Webhook, notified: NotifiedRace
) -> None:
    notified.service.statuses = [410]
    notified.passed()
    spread()
    deliver(lambda: len(notified.service.posts) == 1)
    webhook.refresh_from_db()
    assert webhook.disabled_at is not None
    WebhookMessage.objects.update(due_at=timezone.now())
    assert not WebhookMessage.objects.claim(most=9, lease=timedelta(0), busy=set())
    assert WebhookMessage.objects.filter(due_at__isnull=False).exists()


def test_private_addresses_are_refused(
    webhook: Webhook, notified: NotifiedRace, settings: Settings
) -> None:
    settings.SPECTATE_PUSH_LOCAL = False
    Webhook.objects.update(url="https://127.0.0.1/hook")
    notified.passed()
    spread()
    attempts = iter(range(1_000))
    deliver(lambda: next(attempts) > 1)
    (message,) = WebhookMessage.objects.all()
    assert message.result == "The endpoint is at a private address."
    assert not notified.service.posts


def test_failing_receivers_delay_no_other_and_lose_nothing(
    webhook: Webhook, notified: NotifiedRace, organiser: User, race: Race
) -> None:
    notified.service.headers["Location"] = f"{notified.service.url}/private"
    notified.service.by_path = {
        "/fails": [500, 503],
        "/moved": [302],
        "/stalls": [SILENT],
    }
    notified.service.held = {"/slow", "/stalls"}
    for name in ("fails", "moved", "slow", "stalls"):
        url = f"{notified.service.url}/{name}"
        Webhook.objects.create(name=name, url=url, account=organiser, race=race)
    for number in range(4):
        place = race.checkpoints.create(name=f"{number} km", distance=number)
        passed(notified.entry, place)
    spread()
    sender = WebhookSender()
    sender.start()
    try:
        wait_until(lambda: len(notified.service.posts_at("/hook")) == 4)
        # The first message of these is still on its way.
        assert {
            len(notified.service.posts_at(path)) for path in notified.service.held
        } == {1}
        notified.service.release.set()
        wait_until(all_delivered)
    finally:
        notified.service.release.set()
        sender.stop()
    for path in ("/hook", "/fails", "/moved", "/slow", "/stalls"):
        posts = notified.service.posts_at(path)
        # Each event has one id, however often it was sent.
        sent = {(post.headers["webhook-id"], post.body) for post in posts}
        ids, bodies = zip(*sent, strict=True)
        assert len({*ids}) == len({*bodies}) == len(sent) == 4, path
    assert (
        len(notified.service.posts_at("/hook"))
        == len(notified.service.posts_at("/slow"))
        == 4
    )
    assert not notified.service.posts_at("/private")


def all_delivered() -> bool:
    """Return whether nothing waits; make what waits for a new attempt due now."""
    waiting = WebhookMessage.objects.filter(delivered_at=None)
    waiting.exclude(result="").update(due_at=timezone.now())
    return not waiting.exists()


def test_an_account_without_the_right_gets_nothing(
    webhook: Webhook, organiser: User, notified: NotifiedRace
) -> None:
    organiser.user_permissions.clear()
    # Seeing the race is not enough: making a webhook is not permitted by it either.
    held = role_set(race=notified.entry.race, user=organiser, role=Role.READ)
    notified.passed()
    spread()
    assert not WebhookMessage.objects.exists()
    role_set(race=notified.entry.race, user=held.user, role=Role.TIMING)
    entry_mark(entry=notified.entry, status=Entry.Status.DNF)
    spread()
    assert WebhookMessage.objects.get().kind == "entry.out"


@pytest.mark.parametrize("is_of_all_races", [False, True])
def test_a_message_that_waits_when_its_account_loses_the_right_is_not_sent(
    webhook: Webhook, notified: NotifiedRace, organiser: User, is_of_all_races: bool
) -> None:
    organiser.user_permissions.clear()
    held = role_set(race=notified.entry.race, user=organiser, role=Role.TIMING)
    if is_of_all_races:
        Webhook.objects.update(race=None)
    notified.passed()
    spread()
    assert WebhookMessage.objects.get().due_at is not None
    held.delete()
    rounds = iter((False, True))
    deliver(lambda: next(rounds))
    assert not notified.service.posts
    message = WebhookMessage.objects.get()
    assert (message.result, message.due_at) == (NOT_PERMITTED, None)


def test_an_organiser_makes_a_webhook_and_sends_a_message_again(
    organiser: User, race: Race, notified: NotifiedRace
) -> None:
    permit(organiser, "add_webhook", "change_webhook", "view_webhook")
    permit(organiser, "view_webhookmessage", "change_race")
    client = signed_in(organiser)
    made = client.post(
        "/admin/runners/webhook/add/",
        {"name": "Club", "url": f"{notified.service.url}/club", "race": race.pk},
        follow=True,
    )
    (webhook,) = Webhook.objects.all()
    assert webhook.secret in made.text
    notified.passed()
    spread()
    deliver(lambda: len(notified.service.posts) == 1)
    (message,) = WebhookMessage.objects.all()
    page = "/admin/runners/webhookmessage/"
    assert "HTTP 201" in client.get(page).text
    client.post(page, {"action": "send_again", "_selected_action": message.pk})
    deliver(lambda: len(notified.service.posts) == 2)
    assert json.loads(notified.service.posts[0].body) == json.loads(
        notified.service.posts[1].body
    )

    other = User.objects.create_user("otto", is_staff=True)
    permit(other, "view_webhook", "view_webhookmessage")
    client.force_login(other)
    assert "Club" not in client.get("/admin/runners/webhook/").text
    assert "HTTP 201" not in client.get(page).text


def test_an_address_that_is_not_public_is_refused_with_the_reason(
    organiser: User, race: Race, settings: Settings
) -> None:
    permit(organiser, "add_webhook", "change_webhook", "view_webhook", "change_race")
    client = signed_in(organiser)
    response = client.post(
        "/admin/runners/webhook/add/",
        {"name": "Club", "url": "https://10.0.0.7/", "race": race.pk},
    )
    assert "The endpoint is at a private address." in response.text
    assert not Webhook.objects.exists()


def test_a_poll_without_due_messages_begins_no_transaction(webhook: Webhook) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert not WebhookMessage.objects.claim(most=9, lease=timedelta(0), busy=set())
    assert len(queries) == 1


def test_the_right_to_a_race_is_checked_once_for_all_its_messages(
    webhook: Webhook, organiser: User, notified: NotifiedRace
) -> None:
    other = Webhook.objects.create(
        name="Times", url=webhook.url, account=organiser, race=notified.entry.race
    )
    notified.passed()
    spread()
    counts = []
    WebhookMessage.objects.update(due_at=None)
    for due in ([webhook], [webhook, other]):
        messages = WebhookMessage.objects.filter(webhook__in=due)
        messages.update(due_at=timezone.now())
        with CaptureQueriesContext(connection) as queries:
            assert len(webhook_sender._claim(set())) == len(due)
        counts.append(len(queries))
    assert counts[0] == counts[1]
