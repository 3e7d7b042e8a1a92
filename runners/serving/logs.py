from __future__ import annotations

import logging
import re
from typing import Any

from daphne.access import AccessLogGenerator

# The parts of a URL that may contain a token, a share link or the key of a mail.
SECRETS = re.compile(
    r"(\?|/s/|/stop/|/confirm/|/invitations/|/reset/key/|/intake/[^/\s?\"']*/)[^\s?\"']+"
)
# A token in any other place. Codes are never this long.
LONG_WORD = re.compile(r"[A-Za-z0-9_-]{43,}")


class NoTracebackOfSenders(logging.Filter):
    """Shorten the log record of a bad request, such as one with a wrong Host header.

    Its stack trace shows only Django's own code.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.exc_info = record.exc_text = None
        return True


class MaskSecrets(logging.Filter):
    """Masks tokens in log records: in query strings, share links and intake paths."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        masked = mask(message)
        if masked != message:
            record.msg, record.args = masked, ()
        if record.exc_info:
            # Replaces the exception, whose text may quote a header.
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_text = mask(text)
        return True


def mask(text: str) -> str:
    """Replace possible tokens in a text by ***."""
    return LONG_WORD.sub("***", SECRETS.sub(r"\1***", text))


def mask_logs() -> None:
    """Mask the logs of this process, and the access log of the `daphne` command.

    Daphne writes its access log without Python's logging and has no hook for it.
    """
    for handler in logging.getLogger().handlers:
        handler.addFilter(MaskSecrets())
    write_entry = AccessLogGenerator.write_entry

    def write_masked(self: Any, host: Any, date: Any, request: str, **more: Any) -> Any:
        return write_entry(self, host, date, mask(request), **more)

    AccessLogGenerator.write_entry = write_masked
