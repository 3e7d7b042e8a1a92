"""Formats validation errors of a row for people."""

from __future__ import annotations

from django.core.exceptions import ValidationError


def one_line(error: ValidationError) -> str:
    """Return the errors of a row as one line that names each field."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(
        f"{field}: {' '.join(messages)}"
        for field, messages in error.message_dict.items()
    )
