"""Failures of mails, and the language of notifications."""

from __future__ import annotations

import smtplib
import threading
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import ClassVar

import pytest
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from runners.models import Delivery, Runner, Subscription
from runners.models.news import Kind
from runners.notifying import account_mails, mail_server
from runners.notifying.notifier import MAX_FAILURES, Notifier
from runners.notifying.sos import Call, sos_store
from runners.notifying.subscribing import address_add, address_confirm
from runners.positions.fix import Fix
from runners.units.clock import milliseconds
from tests.notifying.news import NotifiedRace, alert, mail_contact
from tests.notifying.push import Browser

pytestmark = pytest.mark.django_db


class Mailbox(BaseEmailBackend):
    """Raises the next error for each mail, finally none."""

    errors: ClassVar[list[Exception]] = []
    accepted: ClassVar[list[EmailMessage]] = []
    attempted: ClassVar[list[EmailMessage]] = []

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        self.attempted.extend(email_messages)
        if self.errors:
            raise self.errors.pop(0)
        self.accepted.extend(email_messages)
        return len(email_messages)


@pytest.fixture
def mailbox(settings: Settings, mailoutbox: list[EmailMessage]) -> type[Mailbox]:
    settings.EMAIL_BACKEND = f"{__name__}.Mailbox"
    for mails in (Mailbox.errors, Mailbox.accepted, Mailbox.attempted):
        mails.clear()
    return Mailbox


@pytest.fixture
def address(alice: User, bob: Runner) -> Subscription:
    """Alice's address, subscribed to Bob's checkpoints."""
    subscription = address_add(user=alice, email="alice@example.org", language="de")
    address_confirm(recipient=subscription)
    alert(subscription, bob, Kind.CHECKPOINT)
    return subscription


def refused(code: int) -> smtplib.SMTPException:
    return smtplib.SMTPRecipientsRefused({"alice@example.org": (code, b"no")})


@pytest.mark.parametrize(
    ("error", "reason", "left"),
    [
        (refused(450), "busy", 1),
        (smtplib.SMTPDataError(451, b"later"), "busy", 1),
        (smtplib.SMTPServerDisconnected("gone"), "unreachable", 1),
        (TimeoutError(), "unreachable", 1),
        (refused(550), "refused", 0),
        (UnicodeError(), "error", 0),
    ],
)
def test_a_failed_mail_is_retried_if_that_may_help(
    address: Subscription,
    notified: NotifiedRace,
    mailbox: type[Mailbox],
    error: Exception,
    reason: str,
    left: int,
) -> None:
    mailbox.errors.append(error)
    notified.passed()
    notified.notifier.push_turn()
    notified.notifier.mail_turn()
    assert notified.notifier.results.failed == {reason: 1}
    assert Delivery.objects.count() == left
    Delivery.objects.update(due_at=timezone.now())
    notified.notifier.mail_turn()
    assert len(mailbox.accepted) == left and not Delivery.objects.exists()


def test_a_mail_about_an_account_delays_no_request_and_is_retried(
    client: Client,
    alice: User,
    notifier: Notifier,
    mailbox: type[Mailbox],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services = SimpleNamespace(notifier=notifier)
    serving = SimpleNamespace(is_current=lambda: True, current=lambda: services)
    monkeypatch.setattr("runners.views.account.adapter.process", serving)
    monkeypatch.setattr(account_mails, "RETRY_S", 0)
    notifier.account_mails.start()
    mailbox.errors += [TimeoutError(), refused(450)]
    response = client.post("/account/password/reset/", {"email": alice.email})
    assert response.headers["Location"] == "/account/password/reset/sent/"
    assert not mailbox.attempted
    for _ in range(4):
        notifier.mail_turn()
    assert len(mailbox.attempted) == 3
    assert [mail.to for mail in mailbox.accepted] == [[alice.email]]

    # A refusal for ever is not retried.
    mailbox.errors += [refused(550)]
    client.post("/account/password/reset/", {"email": alice.email})
    for _ in range(2):
        notifier.mail_turn()
    assert len(mailbox.attempted) == 4


def wait_to_be_sent(notifier: Notifier, names: Iterable[int | str]) -> None:
    notifier.account_mails.start()
    for name in names:
        message = EmailMessage(subject="account", to=[f"{name}@example.org"])
        notifier.account_mails.send_soon(message)


def call_for_help(runner: Runner) -> None:
    now = milliseconds(timezone.now())
    fix = Fix(now - 20 * 60_000, 53.35, -6.26)
    call = Call(key="one", called=now, fix=fix, battery=43, fine=False)
    sos_store(runner=runner.pk, call=call)


def test_a_call_for_help_is_mailed_before_mails_about_accounts(
    notified: NotifiedRace, mailbox: type[Mailbox]
) -> None:
    mail_contact(notified.entry.runner, "mum@example.org", "fr")
    mailbox.accepted.clear()
    wait_to_be_sent(notified.notifier, range(25))
    call_for_help(notified.entry.runner)
    notified.notifier.push_turn()
    assert notified.notifier.mail_turn()
    assert mailbox.accepted[0].to == ["mum@example.org"]
    # A later call waits for one round of them at most.
    assert len(mailbox.accepted) == 1 + mail_server.MAIL_BATCH
    assert [notified.notifier.mail_turn() for _ in range(3)] == [True, False, False]
    assert len(mailbox.accepted) == 26 and notified.notifier.results.sent == {
        "mail": 26
    }


def test_mails_about_accounts_wait_for_a_failed_server_but_not_for_one_another(
    notifier: Notifier, mailbox: type[Mailbox]
) -> None:
    wait_to_be_sent(notifier, "abc")
    mailbox.errors.append(refused(450))
    assert not notifier.mail_turn()
    assert [mail.to[0][0] for mail in mailbox.accepted] == ["b", "c"]
    wait_to_be_sent(notifier, "de")
    mailbox.errors.append(TimeoutError())
    for _ in range(2):
        assert not notifier.mail_turn()
    assert [mail.to[0][0] for mail in mailbox.attempted] == ["a", "b", "c", "d"]
    assert notifier.results.failed == {"busy": 1, "unreachable": 1}


def test_a_mail_that_breaks_the_connection_does_not_stop_the_others(
    notifier: Notifier, mailbox: type[Mailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_mails, "RETRY_S", 0)
    wait_to_be_sent(notifier, "ab")
    mailbox.errors += [smtplib.SMTPServerDisconnected("gone")]
    for _ in range(2):
        notifier.mail_turn()
    assert [mail.to[0][0] for mail in mailbox.accepted] == ["b", "a"]


def test_lost_mails_about_accounts_are_counted_and_logged(
    notifier: Notifier,
    mailbox: type[Mailbox],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(account_mails, "MAX_WAITING", 2)
    wait_to_be_sent(notifier, "abc")
    assert "lost, as 2 wait already: 1" in caplog.text
    notifier.stop()
    assert "lost, as the process stopped: 2" in caplog.text
    monkeypatch.setattr(account_mails, "ATTEMPTS_FOR_S", 0)
    wait_to_be_sent(notifier, "d")
    notifier.mail_turn()
    assert "did not accept them in time: 1" in caplog.text
    assert notifier.results.failed == {"lost": 4} and not mailbox.attempted


def test_a_mail_that_is_requested_during_the_stop_is_sent(
    notifier: Notifier, mailbox: type[Mailbox]
) -> None:
    notifier.account_mails.start()
    late = EmailMessage(subject="account", to=["late@example.org"])

    class Ending(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            notifier.account_mails.send_soon(late)

    notifier._threads.append(Ending())
    notifier.stop()
    assert mailbox.accepted == [late] and not notifier.results.failed


def test_no_other_mail_is_sent_after_a_lost_connection(
    address: Subscription, notified: NotifiedRace, mailbox: type[Mailbox]
) -> None:
    mailbox.errors.append(TimeoutError())
    for lap in range(1, 4):
        notified.passed(lap)
    notified.notifier.push_turn()
    notified.notifier.mail_turn()
    assert len(mailbox.attempted) == 1
    assert notified.notifier.results.failed == {"unreachable": 3}
    assert Delivery.objects.count() == 3


def test_a_permanently_refused_address_is_deleted(
    address: Subscription, notified: NotifiedRace, mailbox: type[Mailbox]
) -> None:
    for lap in range(MAX_FAILURES):
        assert Subscription.objects.exists()
        mailbox.errors.append(refused(550))
        notified.passed(lap + 1)
        notified.notifier.push_turn()
        notified.notifier.mail_turn()
    assert not Subscription.objects.exists()


def test_each_subscription_has_its_language(
    address: Subscription,
    notified: NotifiedRace,
    browser: Browser,
    mailoutbox: list[EmailMessage],
) -> None:
    choice = {
        "push": browser.subscription,
        "browser": True,
        "runners": ["bob"],
        "kinds": ["checkpoint"],
    }
    answer = Client().post(
        "/notifications/",
        choice,
        content_type="application/json",
        headers={"accept-language": "es"},
    )
    assert answer.status_code == 200
    mailoutbox.clear()
    notified.passed()
    notified.notifier.push_turn()
    notified.notifier.mail_turn()
    assert browser.read(notified.service.posts[0].body)["title"] == "Bob en 10 km"
    (mail,) = mailoutbox
    # The subject has no name, which is anybody's text.
    assert mail.subject == "Spectate: Kontrollpunkte"
    assert mail.body.startswith("Bob bei 10 km. ")
    assert "Keine Mails mehr: http" in mail.body


def test_a_contact_is_notified_in_the_runners_language(
    notified: NotifiedRace, mailoutbox: list[EmailMessage]
) -> None:
    mail_contact(notified.entry.runner, "mum@example.org", "fr")
    mailoutbox.clear()
    call_for_help(notified.entry.runner)
    notified.notifier.push_turn()
    notified.notifier.mail_turn()
    (mail,) = mailoutbox
    assert mail.subject == "Spectate: Appel à l’aide"
    assert mail.body.startswith("Bob appelle à l’aide. ")
    assert "20 min avant : 53.35000, -6.26000" in mail.body
    assert "Batterie 43 %." in mail.body
