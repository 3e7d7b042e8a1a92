"""The error of a message, which its sender gets as an `error`."""

from __future__ import annotations

from typing import Any


class CommandError(Exception):
    """An error in a message: a stable dotted code and a sentence."""

    def __init__(self, code: str, detail: str, **fields: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.fields = fields
