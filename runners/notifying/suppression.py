"""Limits of unsolicited mails, and addresses that refuse all mails."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.db import transaction
from django.utils.translation import gettext as _

from runners.models import (
    Contact,
    Entry,
    Invitation,
    Subscription,
    SuppressedAddress,
)
from runners.models.suppression import address_digest
from runners.quotas import over_quota
from runners.units.errors import CodedError

DAY_S = 86_400
HOUR_S = 3_600
# Limits of first mails, which ask for a confirmation: to one address and by one account
# per day, and by the server per hour.
MAX_TO_ADDRESS = 2
MAX_BY_ACCOUNT = 5
MAX_BY_SERVER = 500


def check_first_mail(address: str, *, account: int | None) -> None:
    """Count a first mail to an address, or raise `CodedError`.

    `account`: whose mail it is, None for nobody's.
    """
    if SuppressedAddress.objects.of_address(address).exists():
        raise CodedError(
            "mail.suppressed",
            _("The owner of this address does not want emails from this server."),
        )
    if too_many_unasked(address, account) or over_quota("mail", MAX_BY_SERVER, HOUR_S):
        raise CodedError(
            "rate.limited", _("Too many emails today. Try again tomorrow.")
        )


def too_many_unasked(person: str, account: int | None) -> bool:
    """Count what an account sends unasked to an address or a username.

    Return whether it is too much for the one or the other today.
    """
    if over_quota(f"mail to {person.casefold()}", MAX_TO_ADDRESS, DAY_S):
        return True
    return account is not None and over_quota(
        f"mail by {account}", MAX_BY_ACCOUNT, DAY_S
    )


@transaction.atomic
def address_suppress(*, address: str, reason: str) -> None:
    """Stop all mails to an address, delete it, and end the set-up links sent to it.

    Mails about an account to the address that it has confirmed are still sent.
    """
    SuppressedAddress.objects.of_address(address).get_or_create(
        digest=address_digest(address), defaults={"reason": reason}
    )
    for model in (Subscription, Contact, Invitation):
        model.objects.filter(email__iexact=address).delete()
    entries = Entry.objects.filter(mail__iexact=address)
    mailed = Entry.objects.filter(pk__in=list(entries.values_list("pk", flat=True)))
    # First the address, which whoever sends a link claims with the entry.
    mailed.update(mail="", setup_sent_at=None)
    mailed.end_setup_links()
    EmailAddress.objects.filter(email__iexact=address, verified=False).delete()
