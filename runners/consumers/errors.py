"""What is wrong with a message, and what a socket is closed with for good."""

from __future__ import annotations

from typing import Any


class CommandError(Exception):
    """What is wrong with a message: a stable dotted code and a sentence."""

    def __init__(self, code: str, detail: str, **fields: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.fields = fields
