from __future__ import annotations

import logging
import re
from typing import Any

from daphne.access import AccessLogGenerator

# Runner tokens and share links travel in these, for clients that can do no better.
SECRETS = re.compile(r"(\?|/s/|/intake/[^/\s?\"']*/)[^\s?\"']+")
# And wherever else somebody puts one by mistake: 256 bit are longer than any code.
LONG_WORD = re.compile(r"[A-Za-z0-9_-]{43,}")


class NoTracebackOfSenders(logging.Filter):
    """Say in a line what is wrong with a request, such as its Host header.

    Where in Django that was noticed helps nobody.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.exc_info = record.exc_text = None
        return True


class MaskSecrets(logging.Filter):
    """Keep tokens out of a log: query strings, share links and intake paths."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        masked = mask(message)
        if masked != message:
            record.msg, record.args = masked, ()
        if record.exc_info:
            # Written instead of the exception itself, which may quote a header.
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_text = mask(text)
        return True


def mask(text: str) -> str:
    """Put *** in the place of what may hold a token."""
    return LONG_WORD.sub("***", SECRETS.sub(r"\1***", text))


def mask_logs() -> None:
    """Mask what this process logs, and the access log of the `daphne` command.

    That one is written past Python's logging and has no hook of its own.
    """
    for handler in logging.getLogger().handlers:
        handler.addFilter(MaskSecrets())
    write_entry = AccessLogGenerator.write_entry

    def write_masked(self: Any, host: Any, date: Any, request: str, **more: Any) -> Any:
        return write_entry(self, host, date, mask(request), **more)

    AccessLogGenerator.write_entry = write_masked
