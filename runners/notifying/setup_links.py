"""Mails runners of a start list the link that sets their phone up."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from smtplib import SMTPDataError, SMTPRecipientsRefused

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Length
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from runners.models import Entry, Phone, Race, Runner, RunnerToken, SuppressedAddress
from runners.models.entry import EntryQuerySet, setup_link_name
from runners.notifying import mail
from runners.notifying.mail import EmailConnection
from runners.notifying.suppression import DAY_S, HOUR_S, MAX_BY_SERVER
from runners.quotas import give_back, over_quota
from runners.units.errors import CodedError

# Limits of one turn, which an organiser waits for.
MAX_PER_TURN = 100
TURN_S = 20.0
# A family may use one address.
MAX_TO_ADDRESS = 5
# Per day; several times what an organiser sends, 100 per press.
MAX_BY_RACE = 2000


@dataclass(slots=True)
class Turn:
    """What came of one turn of sending."""

    sent: int = 0
    # Addresses whose owners or servers refuse mails, and which are deleted.
    refused: int = 0
    # Entries that wait because their address has got its links of the day.
    skipped: int = 0
    full: set[str] = field(default_factory=set)
    # Mails that the server did not take this time.
    failed: int = 0
    # Why the turn ended before its time, for the organiser.
    stopped: str = ""


def with_tested(race: Race, entries: EntryQuerySet) -> EntryQuerySet:
    """Annotate whether a position has arrived by the link that was sent (`tested`)."""
    phones = Phone.objects.filter(
        token__runner=OuterRef("runner"),
        token__name=setup_link_name(race.pk),
        fix_at__gte=OuterRef("setup_sent_at"),
    )
    return entries.annotate(tested=Exists(phones))


def without_link(entries: EntryQuerySet) -> EntryQuerySet:
    """Return the entries with an address that has not got its link.

    Runners with an account set their phones up themselves.
    """
    waiting = entries.filter(runner__account=None, setup_sent_at=None)
    return waiting.exclude(mail="")


def setup_links_send(*, race: Race, entries: EntryQuerySet, language: str) -> Turn:
    """Mail links to the next of these entries, in the order of their bibs.

    Each entry is marked before its mail is sent, so that none is sent twice. Raises
    `CodedError`, and OSError if the mail server is unavailable. Sends outside of a
    transaction, which would keep other writers out.
    """
    if not mail.is_offered():
        raise CodedError("mail.off", _("This server does not send emails."))
    turn, until = Turn(), time.monotonic() + TURN_S
    waiting = without_link(entries).select_related("runner")
    with translation.override(language), mail.connected() as connection:
        for entry in waiting.order_by(Length("bib"), "bib"):
            is_over = turn.sent + turn.refused + turn.failed >= MAX_PER_TURN
            if turn.stopped or is_over or time.monotonic() > until:
                break
            _send_within_limits(race, entry, connection, turn)
    return turn


def _send_within_limits(
    race: Race, entry: Entry, connection: EmailConnection, turn: Turn
) -> None:
    quota = f"setup mail to {entry.mail.casefold()}"
    if quota in turn.full:
        turn.skipped += 1
    elif SuppressedAddress.objects.of_address(entry.mail).exists():
        _forget(entry, turn)
    elif over_quota(f"setup mail of race {race.pk}", MAX_BY_RACE, DAY_S):
        turn.stopped = f"A race sends {MAX_BY_RACE} links per day."
    elif over_quota("setup mail", MAX_BY_SERVER, HOUR_S):
        turn.stopped = f"This server sends {MAX_BY_SERVER} links per hour."
    elif over_quota(quota, MAX_TO_ADDRESS, DAY_S):
        turn.full.add(quota)
        turn.skipped += 1
    else:
        try:
            _send(race, entry, connection, turn)
        except OSError:
            give_back(quota, DAY_S)
            raise


def _send(race: Race, entry: Entry, connection: EmailConnection, turn: Turn) -> None:
    plain = _claim(race, entry)
    if plain is None:
        return
    try:
        mail.setup_mail(race, entry, plain, connection).send()
    except OSError as error:
        unsent = Entry.objects.filter(pk=entry.pk, mail=entry.mail)
        unsent.end_setup_links()
        unsent.update(setup_sent_at=None)
        if not isinstance(error, SMTPRecipientsRefused | SMTPDataError):
            raise
        if _is_unknown(error):
            _forget(entry, turn)
        else:
            turn.failed += 1
    else:
        turn.sent += 1


@transaction.atomic
def _claim(race: Race, entry: Entry) -> str | None:
    """Mark an entry as sent, and return its new token.

    None if somebody else sends it, or if the start list has changed since it was read.
    Who changes the address waits for this transaction, and then ends the token.
    """
    claimed = Entry.objects.filter(
        pk=entry.pk,
        mail=entry.mail,
        setup_sent_at=None,
        # Not a join, whose conditions PostgreSQL does not check again after waiting.
        runner__in=Runner.objects.filter(account=None),
    )
    if not claimed.update(setup_sent_at=timezone.now()):
        return None
    Entry.objects.filter(pk=entry.pk).end_setup_links()
    (plain,) = RunnerToken.objects.issue_many(
        [entry.runner], name=setup_link_name(race.pk), expires_at=race.ends
    )
    return plain


def _is_unknown(error: OSError) -> bool:
    """Return whether the server will never take a mail for this address.

    A 4xx code is for later (greylisting); after DATA it is about the mail (RFC 5321).
    """
    return isinstance(error, SMTPRecipientsRefused) and all(
        code >= 500 for code, _ in error.recipients.values()
    )


def _forget(entry: Entry, turn: Turn) -> None:
    Entry.objects.filter(pk=entry.pk, mail=entry.mail).update(mail="")
    turn.refused += 1
