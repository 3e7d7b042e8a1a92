"""Whom a call for help is mailed to: people who agreed, and few mails to others."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db import connection
from django.test import Client
from pytest_django import Settings

from runners.models import Runner, SuppressedAddress
from runners.notifying.mail import CONSOLE
from runners.notifying.notifier import Notifier
from runners.notifying.sos import contact_add, sos_store
from runners.notifying.subscribing import address_add
from runners.units.errors import CodedError
from tests.notifying.calls import call, send_all
from tests.notifying.push import PushService

pytestmark = pytest.mark.django_db


def path_in(mail: EmailMessage, part: str) -> str:
    """Return the path of the link in a mail that has this part."""
    (url,) = (word for word in str(mail.body).split() if part in word)
    return "/" + url.split("/", 3)[3]


def test_a_contact_is_mailed_calls_only_after_agreeing(
    bobs: Client, bob: Runner, notifier: Notifier, mailoutbox: list[EmailMessage]
) -> None:
    bobs.post("/me/contacts/", {"who": "mum@example.org"})
    assert "has not agreed yet" in bobs.get("/me/").text
    sos_store(runner=bob.pk, call=call("before"))
    send_all(notifier)
    (mail,) = mailoutbox

    page = path_in(mail, "/confirm/")
    assert "if they call for help" in Client().get(page).text
    Client().post(page)
    assert "has not agreed yet" not in bobs.get("/me/").text
    sos_store(runner=bob.pk, call=call("after"))
    send_all(notifier)
    assert [mail.subject for mail in mailoutbox[1:]] == ["Spectate: Call for help"]


def test_an_address_that_stopped_mails_cannot_be_added_again(
    bobs: Client, bob: Runner, alice: User, mailoutbox: list[EmailMessage]
) -> None:
    bobs.post("/me/contacts/", {"who": "mum@example.org"})
    (mail,) = mailoutbox
    page = path_in(mail, "/stop/")
    assert mail.extra_headers["List-Unsubscribe"].endswith(f"{page}>")
    # The link works also if the runner has removed the contact meanwhile.
    bob.contacts.all().delete()
    bobs.post("/me/contacts/", {"who": "MUM@example.org"})

    stranger = Client(enforce_csrf_checks=True)
    assert "mum@example.org" in stranger.get(page).text
    assert bob.contacts.exists()
    answer = stranger.post(page, {"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    assert not bob.contacts.exists()

    mailoutbox.clear()
    refusal = "The owner of this address does not want emails from this server."
    assert refusal in bobs.post("/me/contacts/", {"who": "Mum@example.org"}).text
    with pytest.raises(CodedError, match=refusal):
        address_add(user=alice, email="mum@example.org", language="en")
    assert mailoutbox == [] and not bob.contacts.exists()
    assert "mum" not in str(SuppressedAddress.objects.values().get())


def test_a_stranger_gets_few_mails_of_a_contact_that_comes_and_goes(
    bobs: Client, bob: Runner, mailoutbox: list[EmailMessage]
) -> None:
    """Otherwise repeatedly adding an address sends mails, with any text."""
    bob.name = "Cheap watches at example.com"
    bob.save()
    pages = []
    for _ in range(5):
        pages.append(bobs.post("/me/contacts/", {"who": "Mum@example.org"}).text)
        bob.contacts.all().delete()
    assert [mail.to for mail in mailoutbox] == 2 * [["Mum@example.org"]]
    assert "Too many emails today." in pages[-1]
    assert not any("watches" in mail.subject for mail in mailoutbox)


def test_a_runner_sends_few_mails_to_new_contacts(
    bobs: Client, bob: Runner, mailoutbox: list[EmailMessage]
) -> None:
    for number in range(8):
        bobs.post("/me/contacts/", {"who": f"{number}@example.org"})
        bob.contacts.all().delete()
    assert len(mailoutbox) == 5


def test_a_contact_is_an_accepted_follower_or_an_address(
    bobs: Client, bob: Runner, alice: User
) -> None:
    bobs.post("/me/contacts/", {"who": "alice"})
    assert bob.contacts.get().user == alice
    bob.followers.update(status="blocked")
    for nobody in ("alice", "nobody", "@", ""):
        assert "New contact" in bobs.post("/me/contacts/", {"who": nobody}).text
    contact = bob.contacts.get()
    bobs.post(f"/me/contacts/{contact.pk}/remove/")
    assert not bob.contacts.exists()


def test_a_contact_with_a_deactivated_account_is_shown_as_unreachable(
    bobs: Client, bob: Runner, alice: User, service: PushService
) -> None:
    service.browser().subscribe(alice)
    contact_add(runner=bob, email="", user=alice, language="en")
    unreached = "has no notifications yet"
    assert unreached not in bobs.get("/me/").text
    alice.is_active = False
    alice.save()
    assert unreached in bobs.get("/me/").text


def test_an_address_is_no_contact_without_mail(
    bobs: Client, bob: Runner, settings: Settings
) -> None:
    settings.EMAIL_BACKEND = CONSOLE
    page = bobs.post("/me/contacts/", {"who": "mum@example.org"})
    assert "This server does not send emails." in page.text
    assert not bob.contacts.exists()


def test_a_mail_that_is_not_sent_adds_no_contact(
    bobs: Client, bob: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = list(connection.savepoint_ids)

    def refuse(message: EmailMessage, fail_silently: bool = False) -> int:
        # A transaction would keep other writers out until the server responds.
        assert connection.savepoint_ids == outside
        raise ConnectionRefusedError

    monkeypatch.setattr(EmailMessage, "send", refuse)
    page = bobs.post("/me/contacts/", {"who": "mum@example.org"})
    assert "The email could not be sent." in page.text
    assert not bob.contacts.exists()


def test_the_number_of_contacts_is_limited(
    bobs: Client, bob: Runner, settings: Settings
) -> None:
    for number in range(6):
        answer = bobs.post("/me/contacts/", {"who": f"{number}@example.org"})
    assert "at most 5 contacts" in answer.text
    assert bob.contacts.count() == 5
