"""The error of a request, which its sender gets as a code and a sentence."""

from __future__ import annotations

from typing import Any


class CodedError(Exception):
    """An error with a stable dotted code, a sentence, and more fields of its reply."""

    def __init__(self, code: str, detail: str, **fields: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.fields = fields
