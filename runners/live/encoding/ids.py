"""Runner ids as clients write them."""

from __future__ import annotations

import re

from runners.live.events import WireId

# The pattern of a runner's code. Ids are compared as codes.
CODE = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
# The greatest integer that JavaScript represents exactly.
MAX_NUMBER = 2**53 - 1


class RunnerIdError(ValueError):
    """An id that is neither a code nor a whole number from 0 to 2⁵³−1."""


def code_of(wire_id: object) -> str:
    """Return the code of a wire id; raises `RunnerIdError`."""
    if isinstance(wire_id, str) and CODE.fullmatch(wire_id):
        return wire_id
    if type(wire_id) is int and 0 <= wire_id <= MAX_NUMBER:
        return str(wire_id)
    raise RunnerIdError(
        "A runner's id is 1 to 40 letters, digits, '-' and '_', "
        "or a whole number from 0 to 9007199254740991."
    )


def wire_id_of(code: str) -> WireId:
    """Return the seed dialect's id for a code whose publisher did not send one.

    It is a number if the code is a number in its usual form: "7" becomes 7, "007"
    stays text.
    """
    if code.isascii() and code.isdigit() and str(number := int(code)) == code:
        return number if number <= MAX_NUMBER else code
    return code
