"""What is wrong with a row, in words for people."""

from __future__ import annotations

from django.core.exceptions import ValidationError


def one_line(error: ValidationError) -> str:
    """Return what is wrong with a row as one line, each field named."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(
        f"{field}: {' '.join(messages)}"
        for field, messages in error.message_dict.items()
    )
