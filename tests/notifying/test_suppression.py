"""Addresses that receive no mail, and limits of unsolicited mails."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.test import Client

from runners.models import SuppressedAddress
from runners.notifying import suppression
from runners.notifying.subscribing import address_add
from runners.notifying.suppression import check_first_mail
from runners.units.errors import CodedError
from tests.factories.people import signed_in

pytestmark = pytest.mark.django_db


PASSWORD = "a long walk by the river"


def add_account_address(user: User, email: str) -> str:
    """Add an address to an account by its page; return the next page."""
    user.set_password(PASSWORD)
    user.save()
    client = signed_in(user)
    fields = {"email": email, "action_add": ""}
    confirm = client.post("/account/mail/", fields).headers["Location"]
    return client.post(confirm, {"password": PASSWORD}, follow=True).text


def count_allowed(addresses: list[str], accounts: list[int]) -> int:
    allowed = 0
    for address, account in zip(addresses, accounts, strict=True):
        try:
            check_first_mail(address, account=account)
        except CodedError as error:
            assert error.code == "rate.limited"
        else:
            allowed += 1
    return allowed


def test_an_address_gets_few_first_mails_whoever_sends_them() -> None:
    addresses = ["eve@example.org", "Eve@example.org"] * 3
    assert count_allowed(addresses, list(range(6))) == suppression.MAX_TO_ADDRESS


def test_an_account_sends_few_first_mails() -> None:
    addresses = [f"{number}@example.org" for number in range(9)]
    assert count_allowed(addresses, [7] * 9) == suppression.MAX_BY_ACCOUNT


def test_the_server_sends_a_limited_number_of_first_mails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suppression, "MAX_BY_SERVER", 3)
    addresses = [f"{number}@example.org" for number in range(9)]
    assert count_allowed(addresses, list(range(9))) == 3


def test_repeated_requests_to_confirm_an_address_are_limited(
    alice: User, mailoutbox: list[EmailMessage]
) -> None:
    for _ in range(2):
        address_add(user=alice, email="eve@example.org", language="en")
    with pytest.raises(CodedError, match="Too many emails"):
        address_add(user=alice, email="eve@example.org", language="en")
    assert len(mailoutbox) == 2


def test_a_bounced_address_is_suppressed_by_a_command_and_found_by_the_office(
    alice: User, mailoutbox: list[EmailMessage]
) -> None:
    address_add(user=alice, email="gone@example.org", language="en")
    call_command("suppress_address", "Gone@example.org", "b@example.org")
    assert SuppressedAddress.objects.count() == 2
    assert not alice.subscriptions.exists()
    with pytest.raises(CommandError, match="not a mail address"):
        call_command("suppress_address", "gone")

    office = signed_in(User.objects.create_superuser("office"))
    found = office.get("/admin/runners/suppressedaddress/?q=gone@example.org")
    assert "1 suppressed address" in found.text


def test_a_suppressed_address_gets_account_mails_only_once_confirmed(
    mailoutbox: list[EmailMessage],
) -> None:
    call_command("suppress_address", "dave@example.org")
    page = add_account_address(User.objects.create_user("dave"), "dave@example.org")
    assert "does not want emails" in page
    Client().post("/account/password/reset/", {"email": "dave@example.org"})
    assert mailoutbox == []

    EmailAddress.objects.update(verified=True, primary=True)
    Client().post("/account/password/reset/", {"email": "dave@example.org"})
    (mail,) = mailoutbox
    assert "/stop/" not in mail.body


def test_a_stranger_can_stop_mails_that_confirm_an_account(
    alice: User, mailoutbox: list[EmailMessage]
) -> None:
    add_account_address(alice, "eve@example.org")
    (mail,) = mailoutbox
    assert "/notifications/stop/" in mail.body
    assert "List-Unsubscribe" in mail.extra_headers
    url = mail.extra_headers["List-Unsubscribe"].strip("<>")
    Client().post("/" + url.split("/", 3)[3])
    assert not EmailAddress.objects.filter(email="eve@example.org").exists()
    assert SuppressedAddress.objects.get().reason == "unsubscribed"
