"""Runner ids on the wire."""

from __future__ import annotations

import re

# A runner's code: also how any id is compared.
CODE = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
# Above it, JavaScript's numbers are no longer exact.
GREATEST = 2**53 - 1

WireId = str | int


class RunnerIdError(ValueError):
    """An id that is neither a code nor a whole number from 0 to 2⁵³−1."""


def code_of(wire_id: object) -> str:
    """Return the code that a wire id means; raises `RunnerIdError`."""
    if isinstance(wire_id, str) and CODE.fullmatch(wire_id):
        return wire_id
    if type(wire_id) is int and 0 <= wire_id <= GREATEST:
        return str(wire_id)
    raise RunnerIdError(
        "A runner's id is 1 to 40 letters, digits, '-' and '_', "
        "or a whole number from 0 to 9007199254740991."
    )


def wire_id_of(code: str) -> WireId:
    """Return how the seed dialect writes a code when the publisher did not say.

    A number where the code is one in its usual form: "7" is 7, "007" stays text.
    """
    if code.isascii() and code.isdigit() and str(number := int(code)) == code:
        return number if number <= GREATEST else code
    return code
