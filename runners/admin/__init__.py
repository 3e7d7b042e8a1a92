"""The race office: Django's admin with what race day asks for first."""

from runners.admin import (
    entry,
    follow,
    link,
    position,
    privacy,
    race,
    runner,
    split,
    token,
)

__all__ = [
    "entry",
    "follow",
    "link",
    "position",
    "privacy",
    "race",
    "runner",
    "split",
    "token",
]
