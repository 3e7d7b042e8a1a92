"""The race office: Django's admin, arranged for race day."""

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
