"""Builds mails: news, and requests for confirmation; each can be unsubscribed.

All are in the active language.
"""

from __future__ import annotations

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.urls import reverse
from django.utils.translation import gettext as _

from runners.models import Contact, Entry, Invitation, Race, Subscription
from runners.models.news import Kind
from runners.models.race_role import Role
from runners.notifying.texts import Words

# A connection to the mail server.
EmailConnection = BaseEmailBackend

CONSOLE = "django.core.mail.backends.console.EmailBackend"
# How long an address can be confirmed.
CONFIRM_WITHIN_S = 14 * 24 * 3600
_stop = signing.Signer(salt="runners.notifying.stop")
_confirm = signing.TimestampSigner(salt="runners.notifying.confirm")


def is_offered() -> bool:
    """Return whether mail is delivered. A server without EMAIL_URL prints it."""
    return bool(settings.DEBUG) or settings.EMAIL_BACKEND != CONSOLE


def connected() -> EmailConnection:
    """Return a connection for several mails, to be entered; OSError is its error."""
    return get_connection()


def stop_url(address: str) -> str:
    """Return the link that stops all mails to an address without a sign-in.

    It contains the address, as nothing else may be stored of it by then.
    """
    return settings.PUBLIC_URL + reverse(
        "notifications_stop", args=[_stop.sign_object(address)]
    )


def stopped_address(signed: str) -> str:
    """Return the address of such a link; raises `BadSignature`."""
    return str(_stop.unsign_object(signed))


def confirm_url(recipient: Subscription | Contact) -> str:
    """Return the link by which the owner of an address agrees to mails."""
    kind = "contact" if isinstance(recipient, Contact) else "subscription"
    signed = _confirm.sign_object([kind, recipient.pk])
    return settings.PUBLIC_URL + reverse("notifications_confirm", args=[signed])


def confirmed_recipient(signed: str) -> Subscription | Contact | None:
    """Return the row that a link confirms, or None if ended. Raises `BadSignature`."""
    kind, pk = _confirm.unsign_object(signed, max_age=CONFIRM_WITHIN_S)
    if kind == "contact":
        return Contact.objects.filter(pk=pk).first()
    return Subscription.objects.filter(pk=pk).first()


def news_mail(
    kind: Kind, words: Words, address: str, connection: EmailConnection
) -> EmailMessage:
    """Build the mail of a news item. Names are in its text only, not in the subject."""
    url = words.url if "://" in words.url else settings.PUBLIC_URL + words.url
    text = f"{words.title}. {words.body}\n\n{url}"
    return _mail(f"Spectate: {kind.label}", text, address, connection)


def confirmation_mail(subscription: Subscription) -> EmailMessage:
    """Build the mail that asks the owner of an address for confirmation."""
    return _letter(
        subscription.email,
        _("Emails about runners: is this your address?"),
        _("{user} on {site} wants to be notified about runners at this address."),
        _("If that is you, open this page and confirm:") + "\n{url}",
        _("If not, do nothing. You will not receive any other email."),
        user=subscription.user,
        url=confirm_url(subscription),
    )


def contact_mail(contact: Contact) -> EmailMessage:
    """Build the mail that asks a person to become a runner's contact."""
    return _letter(
        contact.email,
        _("A runner chose you as an emergency contact"),
        _(
            "{name} runs with {site} and chose this address. If they ever call for "
            "help, you would receive an email with their position."
        ),
        _("If you agree, open this page and confirm:") + "\n{url}",
        _("If not, do nothing. You will not receive any other email."),
        name=contact.runner.name,
        url=confirm_url(contact),
    )


def invitation_mail(invitation: Invitation, plain: str) -> EmailMessage:
    """Build the mail that invites an address to a race office."""
    return _letter(
        invitation.email,
        _("An invitation to a race office"),
        _("{user} on {site} invites you to the race office of {race}, as: {role}."),
        _("Open this page within seven days to accept:") + "\n{url}",
        _("If you do not expect this, do nothing."),
        user=invitation.invited_by,
        race=invitation.race,
        role=Role(invitation.role).label,
        url=settings.PUBLIC_URL + reverse("invitation", args=[plain]),
    )


def setup_mail(
    race: Race, entry: Entry, plain: str, connection: EmailConnection
) -> EmailMessage:
    """Build the mail with the link that makes a browser an entry's phone."""
    # After "#", which is sent to no server.
    url = f"{settings.PUBLIC_URL}{reverse('browser_phone')}#token={plain}"
    return _letter(
        entry.mail,
        _("Your link for the race"),
        _(
            "You are entered in {race} with the bib {bib}. On the phone that you will "
            "carry, open this link:"
        )
        + "\n{url}",
        _(
            "Start it once before the race, wait until it says that your position was "
            "sent, and stop it. Then you and the race office know that it works."
        ),
        _("Keep the link to yourself. It ends with the race."),
        connection=connection,
        race=race,
        bib=entry.bib,
        url=url,
    )


def stop_headers(address: str) -> dict[str, str]:
    """Return the headers by which a mail program unsubscribes, RFC 8058."""
    return {
        "List-Unsubscribe": f"<{stop_url(address)}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Auto-Submitted": "auto-generated",
    }


def stop_line(address: str) -> str:
    """Return the end of a mail, with the link that stops all mails."""
    return (
        "\n\n-- \n" + _("Stop all emails: {url}").format(url=stop_url(address)) + "\n"
    )


def _letter(
    address: str,
    subject: str,
    *paragraphs: str,
    connection: EmailConnection | None = None,
    **values: object,
) -> EmailMessage:
    """Build a mail of paragraphs in which `{site}` and the names of values stand."""
    text = "\n\n".join(paragraphs).format(site=settings.PUBLIC_URL, **values)
    return _mail(subject, text, address, connection)


def _mail(
    subject: str, text: str, address: str, connection: EmailConnection | None
) -> EmailMessage:
    return EmailMessage(
        subject=subject,
        body=text + stop_line(address),
        to=[address],
        connection=connection,
        headers=stop_headers(address),
    )
