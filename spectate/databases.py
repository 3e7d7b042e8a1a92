"""Database settings from a URL."""

from __future__ import annotations

from typing import Any

import dj_database_url


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
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                "PRAGMA temp_store=MEMORY;"
            ),
        }
    return found
