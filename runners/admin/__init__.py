"""The race office: Django's admin, arranged for race day."""

from runners.admin import (
    account,
    entry,
    follow,
    link,
    position,
    privacy,
    race,
    runner,
    split,
    suppression,
    timing,
    token,
)

__all__ = [
    "account",
    "entry",
    "follow",
    "link",
    "position",
    "privacy",
    "race",
    "runner",
    "split",
    "suppression",
    "timing",
    "token",
]
