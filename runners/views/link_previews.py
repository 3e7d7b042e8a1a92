"""What messengers show of a link to a page: title, address and picture."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

from runners.models import Entry, Race
from runners.rights.access import visible_runners


def link_preview(
    request: HttpRequest, title: str, race: Race | None, code: str | None
) -> dict[str, str]:
    """Return the `title`, `url` and `image` of a page; `code`: the runner it shows.

    A preview is what anybody may see, whoever requests the page.
    """
    path, image = request.path, static("icons/phone-512.png")
    if race is not None and race.visibility == Race.Visibility.PUBLIC:
        if race.line:
            image = reverse("race_preview", args=[race.slug])
        if code and (entry := _entry(race, code)):
            image = reverse("entry_preview", args=[race.slug, entry.bib])
            if title == race.name:
                title = f"{entry.runner.name} · {title}"
                path += f"?{urlencode({'runner': code})}"
    site = settings.PUBLIC_URL
    return {"title": title, "url": site + path, "image": site + image}


def _entry(race: Race, code: str) -> Entry | None:
    runners = visible_runners(None).filter(code=code)
    shown = Entry.objects.shown().filter(race=race, runner__in=runners)
    return shown.exclude(bib="").select_related("runner").first()
