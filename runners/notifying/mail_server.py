"""Sends mails in the background, over one connection per round."""

from __future__ import annotations

import contextlib
import logging
import smtplib
from collections.abc import Iterator

from django.core.mail import EmailMessage, get_connection

from runners.notifying.attempts import RETRY_S, Failed
from runners.notifying.mail import EmailConnection

logger = logging.getLogger(__name__)

# Limit of mails per round and kind, as they are sent one by one.
MAIL_BATCH = 10
# The time-out of each step of a mail server.
MAIL_TIMEOUT_S = 20


@contextlib.contextmanager
def connected() -> Iterator[EmailConnection]:
    """Connect to the mail server; an OSError is logged and raised."""
    try:
        with get_connection(timeout=MAIL_TIMEOUT_S) as connection:
            yield connection
    except OSError as error:
        logger.warning("The mail server cannot be reached; check EMAIL_URL: %s", error)
        raise


def send(message: EmailMessage) -> Failed | None:
    """Send a mail; raises OSError if the server fails."""
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        # Statuses below 500 are temporary: many mail servers let strangers retry.
        if any(code < 500 for code, _ in error.recipients.values()):
            return Failed("busy", again=RETRY_S)
        return Failed("refused")
    except smtplib.SMTPResponseException as error:
        logger.warning("The mail server did not accept a mail; trying again: %s", error)
        return Failed("busy", again=RETRY_S)
    except OSError:
        raise
    except Exception:
        logger.exception("A mail could not be created")
        return Failed("error")
    return None
