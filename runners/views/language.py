"""The visitor's language, and the translations of the scripts' texts."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import polib
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.urls import reverse
from django.utils.translation import get_language
from django.views.decorators.cache import cache_control
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

LANGUAGES = dict(settings.LANGUAGES)
SOURCE = settings.LANGUAGE_CODE
YEAR_S = 365 * 24 * 3600


class Language(LocaleMiddleware):
    """Selects and remembers the language of `?lang=`; otherwise the browser's."""

    def process_request(self, request: HttpRequest) -> None:
        chosen = request.GET.get("lang")
        if request.path_info.startswith("/admin/"):
            # The project's texts of the race office are in English only.
            chosen = SOURCE
        if chosen in LANGUAGES:
            request.COOKIES[settings.LANGUAGE_COOKIE_NAME] = chosen
        super().process_request(request)

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        response = super().process_response(request, response)
        chosen = request.GET.get("lang")
        if chosen in LANGUAGES:
            response.set_cookie(
                settings.LANGUAGE_COOKIE_NAME,
                chosen,
                max_age=YEAR_S,
                secure=settings.LANGUAGE_COOKIE_SECURE,
                samesite="Lax",
            )
        return response


@require_safe
@gzip_page
@cache_control(public=True, max_age=YEAR_S, immutable=True)
def words(request: HttpRequest, language: str, version: str) -> HttpResponse:
    """Return the scripts' texts in a language: {English: translation or plural forms}.

    The version in the URL is a hash of the texts, so that browsers cache them until
    they change.
    """
    if language not in LANGUAGES or language == SOURCE:
        raise Http404("There are no translations for this language.")
    return HttpResponse(_words(language), content_type="application/json")


def script_words(request: HttpRequest) -> dict[str, str | None]:
    """Add the URL of the scripts' texts to templates; None for English."""
    return {"script_words": _words_url(get_language() or SOURCE)}


@cache
def _words_url(language: str) -> str | None:
    if language not in LANGUAGES or language == SOURCE:
        return None
    version = hashlib.blake2b(_words(language), digest_size=6).hexdigest()
    return reverse("words", args=[language, version])


@cache
def _words(language: str) -> bytes:
    source = Path(settings.LOCALE_PATHS[0]) / language / "LC_MESSAGES/djangojs.po"
    found = {
        entry.msgid: [entry.msgstr_plural[n] for n in sorted(entry.msgstr_plural)]
        if entry.msgid_plural
        else entry.msgstr
        for entry in polib.pofile(str(source)).translated_entries()
    }
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
