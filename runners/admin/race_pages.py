"""Pages of a single race in the race office."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from tablib import Dataset

from runners.models import Race
from runners.rights.roles import Action, actions_of, may
from runners.startlist.spreadsheet import shielded

TABLE_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def permitted_race(
    request: HttpRequest,
    pk: int,
    action: Action,
) -> Race:
    """Return a race without its line; raise Http404 or PermissionDenied."""
    race = get_object_or_404(Race.objects.defer("line"), pk=pk)
    if not may(request.user, race, action):
        raise PermissionDenied
    return race


def race_page(
    race_admin: admin.ModelAdmin[Race],
    request: HttpRequest,
    race: Race,
    name: str,
    title: str,
    **context: Any,
) -> HttpResponse:
    """Render admin/runners/race/NAME.html for a race."""
    return TemplateResponse(
        request,
        f"admin/runners/race/{name}.html",
        {
            **race_admin.admin_site.each_context(request),
            "opts": race_admin.opts,
            "media": race_admin.media,
            "race": race,
            "may": actions_of(request.user, race),
            "title": title,
            **context,
        },
    )


def race_table(race: Race, table: Dataset, what: str, kind: str) -> HttpResponse:
    """Return a table as a download, without formulas."""
    rows = [[shielded(str(cell or "")) for cell in row] for row in table]
    content = Dataset(*rows, headers=table.headers).export(kind)
    if kind == "csv":
        # Without the byte order mark, Excel reads a CSV in a local encoding.
        content = "\ufeff" + content
    name = f"{race.slug}-{what}.{kind}"
    return HttpResponse(
        content,
        content_type=TABLE_TYPES[kind],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
