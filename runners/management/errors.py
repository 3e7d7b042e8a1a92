"""Errors of commands, as one line for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError


@contextmanager
def database_needed() -> Iterator[None]:
    """Convert errors of an unavailable or unmigrated database to a CommandError."""
    try:
        yield
    except DatabaseError as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise CommandError(
            f"The database cannot be used: {reason}. Is DATABASE_URL right, and was "
            "`manage.py migrate` run?"
        ) from error
