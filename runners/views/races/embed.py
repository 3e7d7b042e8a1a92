"""The page with which a race is put into other web pages and on a big screen."""

from __future__ import annotations

from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.html import escape, format_html
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from runners.models import Entry, Race
from runners.rights.results import shown_in_standings
from runners.rights.windows import visible_races

HEIGHT_PX = 600


class EmbedForm(forms.Form):
    """The choices of a web author; fields that are left out have their usual values."""

    what = forms.ChoiceField(
        label=_("What"),
        choices=[("map", _("Map and runners")), ("standings", _("Standings"))],
        required=False,
    )
    category = forms.ChoiceField(label=_("Category"), required=False)
    lang = forms.ChoiceField(label=_("Language"), required=False)
    height = forms.IntegerField(
        label=_("Height in pixels"),
        min_value=200,
        max_value=4000,
        required=False,
    )

    def __init__(self, *args: object, race: Race, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        # As in the standings: one runner may be the only one of a category.
        entries = Entry.objects.filter(race=race, runner__in=shown_in_standings(race))
        entries = entries.exclude(category="")
        names = entries.order_by("category").values_list("category", flat=True)
        self.fields["category"].choices = [  # type: ignore[attr-defined]
            ("", _("All")),
            *((name, name) for name in names.distinct()),
        ]
        self.fields["lang"].choices = [  # type: ignore[attr-defined]
            ("", _("The visitor’s")),
            *settings.LANGUAGES,
        ]
        self.fields["height"].widget.attrs["placeholder"] = HEIGHT_PX


@require_safe
def race_embed(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the snippet for the chosen options, and what it looks like."""
    race = get_object_or_404(visible_races(), slug=slug)
    form = EmbedForm(request.GET or None, race=race, auto_id="embed_%s")
    chosen = form.cleaned_data if form.is_bound and form.is_valid() else {}
    wants_standings = chosen.get("what") == "standings"
    path = reverse("standings" if wants_standings else "race", args=[race.slug])
    query = {
        "embed": "1",
        "category": chosen.get("category") if wants_standings else "",
        "lang": chosen.get("lang"),
    }
    path += f"?{urlencode({name: value for name, value in query.items() if value})}"
    height = chosen.get("height") or HEIGHT_PX
    screen = settings.PUBLIC_URL + reverse("race", args=[race.slug]) + "?screen=1"
    context = {
        "race": race,
        "form": form,
        "path": path,
        "height": height,
        # Text to copy, and no part of this page.
        "snippet": escape(
            format_html(
                '<iframe src="{}" title="{}" width="100%" height="{}" '
                'style="border: 0"></iframe>',
                settings.PUBLIC_URL + path,
                race.name,
                height,
            )
        ),
        "screen": screen,
    }
    return render(request, "runners/embed.html", context)
