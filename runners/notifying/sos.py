"""Calls for help, which go to the race office and the runner's contacts.

The position of a call ignores zones and pauses, because it is not stored as a position
and not sent to any follower's socket.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from runners.models import Contact, Entry, News, Race, Runner, Sos, Subscription
from runners.models.news import Kind
from runners.notifying import mail
from runners.notifying.suppression import check_first_mail
from runners.positions.fix import Fix
from runners.units.clock import moment_of
from runners.units.errors import CodedError

MAX_CONTACTS = 5
# A phone app repeats an alarm while the button is pressed or the request is unanswered.
# An alarm within this time of a call belongs to that call.
ALARM_REPEATED = timedelta(minutes=10)
# Calls per runner and hour that contacts and followers are notified of; the race office
# sees all of them.
MAX_NOTIFIED_CALLS = 3


class Call(NamedTuple):
    """A call as a phone sends it: `called` in milliseconds, battery in per cent.

    `fine`: the runner withdraws it.
    """

    key: str
    called: int
    fix: Fix | None
    battery: float | None
    fine: bool


@transaction.atomic
def sos_store(*, runner: int, call: Call) -> Sos:
    """Store a new call or an update; queue a notification for each recipient.

    A repeated call changes nothing except a newer position. Raises
    `Runner.DoesNotExist`.
    """
    now = timezone.now()
    Runner.objects.filter(pk=runner).only("pk").get()
    sos, is_new = Sos.objects.select_for_update().get_or_create(
        runner_id=runner,
        key=call.key,
        defaults={"called_at": min(moment_of(call.called), now), "received_at": now},
    )
    _update_position(sos, call)
    withdrawn = call.fine and sos.fine_at is None
    if withdrawn:
        sos.fine_at = now
    sos.save()
    if is_new and not call.fine:
        lately = Sos.objects.filter(
            runner=runner, received_at__gt=now - timedelta(hours=1)
        )
        if lately.count() <= MAX_NOTIFIED_CALLS:
            _queue_news(sos, Kind.SOS, sos.called_at)
    elif withdrawn and News.objects.filter(sos=sos).exists():
        _queue_news(sos, Kind.FINE, now)
    return sos


@transaction.atomic
def alarm_store(*, runner: int, call: Call) -> Sos:
    """Store a call by a phone app's alarm, which has no id.

    It is a new call, or the update of a recent one that was not over at that time.

    Raises `Runner.DoesNotExist`.
    """
    called = moment_of(call.called)
    recent = Sos.objects.filter(
        Q(closed_at=None) | Q(closed_at__gte=called),
        runner=runner,
        key__startswith="alarm ",
        received_at__gt=timezone.now() - ALARM_REPEATED,
    ).first()
    return sos_store(
        runner=runner, call=call if recent is None else call._replace(key=recent.key)
    )


def _update_position(sos: Sos, call: Call) -> None:
    if call.battery is not None:
        sos.battery = call.battery
    fix = call.fix
    if fix is None or (sos.placed_at is not None and moment_of(fix.t) <= sos.placed_at):
        return
    sos.lat, sos.lng, sos.accuracy = fix.lat, fix.lng, fix.accuracy
    sos.placed_at = moment_of(fix.t)
    if fix.battery is not None:
        sos.battery = fix.battery


def _queue_news(sos: Sos, kind: Kind, at: datetime) -> None:
    # The agreed window limits what spectators see; a race that is extended helps on.
    entries = Entry.objects.shown().filter(
        runner=sos.runner_id, race__in=Race.objects.window_open()
    )
    News.objects.bulk_create(
        [
            News(
                kind=kind,
                once=f"{kind} {sos.pk}",
                runner_id=sos.runner_id,
                entry=entries.order_by("-race__start").first(),
                sos=sos,
                at=at,
            )
        ],
        ignore_conflicts=True,
    )


def sos_acknowledge(*, sos: Sos, by: User) -> None:
    """Record who of the race office saw the call first. The runner's phone shows it.

    The desk shows a runner's last call only, so earlier ones are acknowledged with it.
    """
    _until(sos).filter(seen_at=None).update(seen_at=timezone.now(), seen_by=by)


def sos_close(*, sos: Sos) -> None:
    """Close the call on the desk, and the runner's calls before it."""
    _until(sos).update(closed_at=timezone.now())


def _until(sos: Sos) -> QuerySet[Sos]:
    """Return a runner's open calls up to this one."""
    return Sos.objects.open().filter(
        runner=sos.runner_id, received_at__lte=sos.received_at
    )


def contact_add(
    *, runner: Runner, email: str, user: User | None, language: str
) -> Contact:
    """Add a contact. A mail address is notified.

    Raises `CodedError`, and OSError if the mail server is unavailable; the contact is
    not added then. The mail is sent outside a transaction, which would keep other
    writers out.
    """
    contact, is_new = Contact.objects.get_or_create(
        runner=runner, email=email, user=user, defaults={"language": language}
    )
    if is_new and email:
        try:
            check_first_mail(email, account=runner.account_id)
            mail.contact_mail(contact).send()
        except (CodedError, OSError):
            contact.delete()
            raise
    return contact


def contacts_of(runner: Runner) -> QuerySet[Contact]:
    """Return the contacts; `is_reached`: an account that can be notified."""
    subscriptions = Subscription.objects.filter(
        user=OuterRef("user"), user__is_active=True, confirmed_at__isnull=False
    )
    return runner.contacts.select_related("user").annotate(
        is_reached=Exists(subscriptions)
    )
