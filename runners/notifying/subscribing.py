"""The alerts that followers choose: kinds of news, and where to send them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from runners.models import Alert, Contact, Runner, ShareLink, Subscription
from runners.models.news import KINDS, Kind
from runners.notifying import mail
from runners.notifying.endpoints import EndpointRefused, read_endpoint
from runners.notifying.suppression import check_first_mail
from runners.notifying.webpush import KeysRefused, check_keys
from runners.positions.rate_limits import Bucket
from runners.quotas import network_of, over_quota
from runners.units.errors import CodedError

# Limit of one account.
MAX_BROWSERS = 10
MAX_ADDRESSES = 3
# Limit of the runners with alerts at one browser or address.
MAX_ALERTS = 100
# The rate of new browsers per process, which need no account.
NEW_BROWSERS_PER_S = 10.0
NEW_BURST = 200.0

# New browsers without an account per day and network, which a race village may share.
MAX_NEW_OF_NETWORK = 300
DAY_S = 86_400

_new = Bucket(NEW_BROWSERS_PER_S, NEW_BURST)


def _too_many_from(address: str) -> bool:
    """Count a new browser without an account against the limit of its network."""
    name = f"browser of {network_of(address)}"
    return over_quota(name, MAX_NEW_OF_NETWORK, DAY_S)


def browser_known(push: Mapping[str, Any]) -> Subscription | None:
    """Return a browser's subscription by its endpoint and keys, which only it knows."""
    return Subscription.objects.filter(
        digest=_digest(str(push.get("endpoint"))), auth=_keys(push)[1]
    ).first()


@transaction.atomic
def browser_subscribe(
    *,
    push: Mapping[str, Any],
    user: User | None,
    session: str,
    device: str,
    language: str,
    address: str = "",
) -> Subscription:
    """Store a browser's push subscription, as `PushSubscription.toJSON()` returns it.

    From now on it belongs to the account, or to nobody; the number of the latter is
    limited for each network. Raises `CodedError`.
    """
    endpoint, (p256dh, auth) = str(push.get("endpoint")), _keys(push)
    try:
        read_endpoint(endpoint)
        check_keys(p256dh, auth)
    except (EndpointRefused, KeysRefused) as error:
        raise CodedError("push.invalid", str(error)) from None
    known = browser_known(push)
    if known is None and (_new.take(1) or (user is None and _too_many_from(address))):
        detail = _("Too many requests. Try again in a moment.")
        raise CodedError("rate.limited", detail)
    if known is not None and known.user != user:
        # Its alerts depended on the rights of a different account.
        known.delete()
    if user is not None:
        mine = user.subscriptions.exclude(endpoint="").exclude(digest=_digest(endpoint))
        if mine.count() >= MAX_BROWSERS:
            detail = _("You can have at most {count} browsers. Stop one first.")
            raise CodedError("push.limit", detail.format(count=MAX_BROWSERS))
    subscription, _created = Subscription.objects.update_or_create(
        digest=_digest(endpoint),
        defaults={
            "user": user,
            "session": session,
            "endpoint": endpoint,
            "p256dh": p256dh,
            "auth": auth,
            "device": device,
            "language": language,
            "confirmed_at": timezone.now(),
        },
    )
    return subscription


@transaction.atomic
def alerts_set(
    *,
    subscription: Subscription,
    runners: Iterable[Runner],
    kinds: Collection[Kind],
    link: ShareLink | None = None,
) -> None:
    """Set the alerts about these runners at a destination. Without kinds, remove them.

    `link` is the share link by which the follower sees them, or None. Raises
    `CodedError`.
    """
    runners = list(runners)
    if not kinds:
        subscription.alerts.filter(runner__in=runners).delete()
        return
    chosen = {kind.value: kind in kinds for kind in KINDS}
    Alert.objects.bulk_create(
        [
            Alert(subscription=subscription, runner=r, link=link, **chosen)
            for r in runners
        ],
        update_conflicts=True,
        unique_fields=["subscription", "runner"],
        update_fields=["link", *chosen],
    )
    if subscription.alerts.count() > MAX_ALERTS:
        detail = _("You can have alerts for at most {count} runners. Stop some first.")
        raise CodedError("alerts.limit", detail.format(count=MAX_ALERTS))


def alerts_of(subscription: Subscription | None) -> dict[str, list[str]]:
    """Map codes of runners to the kinds of news that are sent to a place."""
    if subscription is None:
        return {}
    return {
        alert.runner.code: [kind.value for kind in alert.kinds]
        for alert in subscription.alerts.select_related("runner")
    }


def address_add(*, user: User, email: str, language: str) -> Subscription:
    """Store a mail address and ask its owner to confirm; raises `CodedError`.

    A repeated call sends the request again, unless the address is confirmed. Raises
    OSError if the mail server is unavailable.
    """
    if not mail.is_offered():
        raise CodedError("mail.off", _("This server does not send emails."))
    mine = user.subscriptions.exclude(email="")
    if mine.exclude(email=email).count() >= MAX_ADDRESSES:
        detail = _("You can have at most {count} addresses. Remove one first.")
        raise CodedError("mail.limit", detail.format(count=MAX_ADDRESSES))
    subscription, _created = Subscription.objects.get_or_create(
        digest=_digest(f"mailto:{user.pk}:{email}"),
        defaults={"user": user, "email": email, "language": language},
    )
    if subscription.confirmed_at is None:
        check_first_mail(email, account=user.pk)
        mail.confirmation_mail(subscription).send()
    return subscription


def address_confirm(*, recipient: Subscription | Contact) -> None:
    """Mark an address as confirmed by its owner."""
    recipient.confirmed_at = recipient.confirmed_at or timezone.now()
    recipient.save(update_fields=["confirmed_at"])


def address_of(user: User | None) -> Subscription | None:
    """Return where an account gets mail: the address that was confirmed last."""
    if user is None or not mail.is_offered():
        return None
    confirmed = user.subscriptions.exclude(email="").exclude(confirmed_at=None)
    return confirmed.order_by("-confirmed_at").first()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _keys(push: Mapping[str, Any]) -> tuple[str, str]:
    keys = push.get("keys")
    if not isinstance(keys, Mapping):
        return "", ""
    return str(keys.get("p256dh"))[:200], str(keys.get("auth"))[:200]
