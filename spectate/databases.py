"""How the project connects to the database that a URL names."""

from __future__ import annotations

from typing import Any

import dj_database_url


def database_settings(url: str) -> dict[str, Any]:
    """Return what Django's `DATABASES` has to say of the database at a URL."""
    # Under ASGI a kept connection belongs to a thread that may never come back.
    found: dict[str, Any] = {**dj_database_url.parse(url, conn_max_age=0)}
    if found["ENGINE"] == "django.db.backends.sqlite3":
        found["OPTIONS"] = {
            # One writer at a time: take the lock at BEGIN and wait for it, instead of
            # failing in the middle of a transaction.
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,  # seconds
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                "PRAGMA temp_store=MEMORY;"
            ),
        }
    return found
