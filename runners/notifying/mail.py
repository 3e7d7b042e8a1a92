"""Builds mails: news, and requests for confirmation; each can be unsubscribed.

All are in the active language.
"""

from __future__ import annotations

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.urls import reverse
from django.utils.translation import gettext as _

from runners.models import Contact, Subscription
from runners.notifying.texts import Words

CONSOLE = "django.core.mail.backends.console.EmailBackend"
# How long an address can be confirmed.
CONFIRM_WITHIN_S = 3 * 24 * 3600
_stop = signing.Signer(salt="runners.notifying.stop")
_confirm = signing.TimestampSigner(salt="runners.notifying.confirm")


def is_offered() -> bool:
    """Return whether mail is delivered. A server without EMAIL_URL prints it."""
    return bool(settings.DEBUG) or settings.EMAIL_BACKEND != CONSOLE


def stop_url(recipient: Subscription | Contact) -> str:
    """Return the address that unsubscribes from such mails without a sign-in."""
    kind = "contact" if isinstance(recipient, Contact) else "subscription"
    signed = _stop.sign_object([kind, recipient.pk])
    return settings.PUBLIC_URL + reverse("notifications_stop", args=[signed])


def stopped_recipient(signed: str) -> Subscription | Contact | None:
    """Return what a link unsubscribes, or None if ended. Raises `BadSignature`."""
    kind, pk = _stop.unsign_object(signed)
    if kind == "contact":
        return Contact.objects.filter(pk=pk).first()
    return Subscription.objects.filter(pk=pk).first()


def confirmed_address(signed: str) -> Subscription | None:
    """Return the subscription whose address a link confirms; raises `BadSignature`."""
    pk = _confirm.unsign_object(signed, max_age=CONFIRM_WITHIN_S)
    return Subscription.objects.filter(pk=pk).first()


def news_mail(
    words: Words,
    recipient: Subscription | Contact,
    address: str,
    connection: BaseEmailBackend,
) -> EmailMessage:
    """Build the mail of a news item."""
    url = words.url if "://" in words.url else settings.PUBLIC_URL + words.url
    return _mail(words.title, f"{words.body}\n\n{url}", recipient, address, connection)


def confirmation_mail(subscription: Subscription) -> EmailMessage:
    """Build the mail that asks the owner of an address for confirmation."""
    signed = _confirm.sign_object(subscription.pk)
    url = settings.PUBLIC_URL + reverse("notifications_confirm", args=[signed])
    lines = (
        _("{user} on {site} wants to be notified about runners at this address."),
        _("If that is you, open this page and confirm:") + "\n{url}",
        _("If not, do nothing: you will get no other mail."),
    )
    return _mail(
        _("Mails about runners: is this your address?"),
        "\n\n".join(lines).format(
            user=subscription.user, site=settings.PUBLIC_URL, url=url
        ),
        subscription,
        subscription.email,
    )


def contact_mail(contact: Contact) -> EmailMessage:
    """Build the mail to a person whom a runner has chosen as contact."""
    name = contact.runner.name
    text = _(
        "{name} runs with {site} and chose this address: if they ever call "
        "for help, you get a mail with their position. You need not do "
        "anything now."
    )
    return _mail(
        # The recipient has not asked for this mail, so it contains no text of the
        # runner's.
        _("A runner chose you as an emergency contact"),
        text.format(name=name, site=settings.PUBLIC_URL),
        contact,
        contact.email,
    )


def _mail(
    subject: str,
    text: str,
    recipient: Subscription | Contact,
    address: str,
    connection: BaseEmailBackend | None = None,
) -> EmailMessage:
    stop = stop_url(recipient)
    end = _("No more of these mails: {url}").format(url=stop)
    return EmailMessage(
        # The runner has chosen this name freely.
        subject=" ".join(subject.split()),
        body=f"{text}\n\n-- \n{end}\n",
        to=[address],
        connection=connection,
        headers={
            # One-click unsubscription, RFC 8058.
            "List-Unsubscribe": f"<{stop}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "Auto-Submitted": "auto-generated",
        },
    )
