"""Addresses that receive no mail. A search for an address finds its hash."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from runners.admin.by_role import NeverEdited
from runners.models import SuppressedAddress
from runners.models.suppression import address_digest


@admin.register(SuppressedAddress)
class SuppressedAddressAdmin(NeverEdited, admin.ModelAdmin):  # type: ignore[type-arg]
    """An owner gets mail again after a row is deleted. The command adds rows."""

    list_display = ("__str__", "reason", "created_at")
    list_filter = ("reason",)
    search_fields = ("=digest",)
    search_help_text = "The whole address."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if search_term:
            search_term = address_digest(search_term)
        return super().get_search_results(request, queryset, search_term)
