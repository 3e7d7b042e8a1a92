from __future__ import annotations

import logging
import re

# Runner tokens and share links travel in these, for clients that can do no better.
SECRETS = re.compile(r"(\?|/s/|/intake/[a-z]+/)[^/\s?\"']+")


class MaskSecrets(logging.Filter):
    """Keep tokens out of a log: query strings, share links and intake paths."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        masked = SECRETS.sub(r"\1***", message)
        if masked != message:
            record.msg, record.args = masked, ()
        return True
