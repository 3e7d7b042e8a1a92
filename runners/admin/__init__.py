"""The race office: Django's admin, arranged for race day."""

from runners.admin import (
    account,
    api_key,
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
    webhook,
)

__all__ = [
    "account",
    "api_key",
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
    "webhook",
]
