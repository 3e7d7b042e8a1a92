"""A fast password hasher."""

from __future__ import annotations

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class QuickHasher(PBKDF2PasswordHasher):
    """Hashes once instead of a million times; servers accept its hashes."""

    iterations = 1
