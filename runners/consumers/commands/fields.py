"""Parsing of the fields of `spectate.v1` messages."""

from __future__ import annotations

from typing import Any

from runners.consumers.errors import CommandError
from runners.positions.fix import Fix
from runners.positions.validation import FixError, fix_from
from runners.units.clock import now_ms

# Limit of the characters of an `id`, because replies repeat it.
ID_LIMIT = 200


def since_of(command: dict[str, Any]) -> int | None:
    """Return the `since` of a message (milliseconds) or None; raises `CommandError`."""
    since = command.get("since")
    if since is None:
        return None
    if type(since) is not int or not 0 <= since < 2**53:
        raise CommandError(
            "message.invalid", "`since` is in milliseconds since the epoch."
        )
    return min(since, now_ms())


def followed_of(command: dict[str, Any]) -> tuple[list[Any], list[Any], bool]:
    """Return the lists `runners` and `races`, and `public`, of a message.

    Raises `CommandError`.
    """
    runners = command.get("runners", [])
    races = command.get("races", [])
    if not isinstance(runners, list) or not isinstance(races, list):
        raise CommandError("message.invalid", "`runners` and `races` are lists.")
    public = command.get("public", False)
    if not isinstance(public, bool):
        raise CommandError("message.invalid", "`public` is true or false.")
    return runners, races, public


def fix_of(item: Any) -> Fix | FixError:
    """Parse one fix of a `publish`; return the error of a fix that is not valid."""
    if not isinstance(item, dict):
        return FixError("position.invalid", "A fix is an object with t, lat and lng.")
    t = item.get("t")
    if type(t) is not int:
        return FixError("position.invalid", "`t` is in milliseconds since the epoch.")
    try:
        return fix_from(item, t)
    except FixError as error:
        return error
