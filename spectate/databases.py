"""Database settings from a URL."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import Any

import dj_database_url


class PrivateFile(sqlite3.Connection):
    """A connection whose database file, if it is new, only its owner may read.

    SQLite gives its other files the same mode.
    """

    def __init__(self, database: Any, *args: Any, **kwargs: Any) -> None:
        name = os.fspath(database)
        if not name.startswith((":memory:", "file:")):
            # SQLite itself reports a folder that is missing or not writable.
            with contextlib.suppress(OSError):
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        super().__init__(database, *args, **kwargs)


def database_settings(url: str) -> dict[str, Any]:
    """Return the entry of Django's `DATABASES` for a URL."""
    # Under ASGI, a kept connection belongs to a thread that may never be used again.
    found: dict[str, Any] = {**dj_database_url.parse(url, conn_max_age=0)}
    if found["ENGINE"] == "django.db.backends.sqlite3":
        found["OPTIONS"] = {
            # SQLite has one writer at a time. Take the lock at BEGIN and wait for it
            # instead of failing within a transaction.
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,  # Seconds.
            "factory": PrivateFile,
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                "PRAGMA temp_store=MEMORY;"
            ),
        }
    return found
