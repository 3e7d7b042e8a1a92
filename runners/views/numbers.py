"""Numbers as visitors send them."""

from __future__ import annotations


def whole_number(text: str) -> int | None:
    """Parse a whole number below 10¹⁵; None for other texts, however long they are."""
    # Python refuses to parse numbers of thousands of digits.
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return int(text)
    return None
