"""Refuses passwords that a stranger would try first on this server."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from runners.models import Race

# What must be left of a password without the names, in letters.
MIN_LETTERS = 4
# Shorter words, such as "of", are in any sentence.
MIN_WORD = 4


class LocalNamesValidator:
    """Refuses a password made of the names of this server and of its races."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        left = password.casefold()
        for word in sorted(_names(), key=len, reverse=True):
            left = left.replace(word, "")
        has_names = len(left) < len(password)
        if has_names and len(re.sub(r"[\W\d_]", "", left)) < MIN_LETTERS:
            raise ValidationError(
                _("This password is made of the name of this server or of a race."),
                code="password_local",
            )

    def get_help_text(self) -> str:
        return _("Your password can’t be the name of this server or of a race.")


def _names() -> set[str]:
    texts = ["spectate", urlsplit(settings.PUBLIC_URL).hostname or ""]
    texts += Race.objects.values_list("name", flat=True)
    words = {word for text in texts for word in re.split(r"\W+", text.casefold())}
    return {word for word in words if len(word) >= MIN_WORD}
