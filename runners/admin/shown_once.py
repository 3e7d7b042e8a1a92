"""Secrets that are shown once, when they are created; only their hash is stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from runners.admin.by_role import ByRole


class EndedFilter(admin.SimpleListFilter):
    """Usable secrets, or those that have ended, by the model's own `usable`."""

    title = "state"
    parameter_name = "state"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        return [("usable", "Usable"), ("ended", "Ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        usable = queryset.model.objects.usable().values("pk")
        match self.value():
            case "usable":
                return queryset.filter(pk__in=usable)
            case "ended":
                return queryset.exclude(pk__in=usable)
        return queryset


class ShownOnceAdmin(ByRole):
    """Secrets with an end. `save_model` stores a new one's plain text as `secret`."""

    # The heading of a new secret, which is its own name in the page.
    secret_name: ClassVar[str]
    # How long a new one is valid by default.
    usual: ClassVar[timedelta]
    # Other rights or a longer time need a new secret.
    fixed: ClassVar[tuple[str, ...]]
    actions = ("revoke",)

    def get_readonly_fields(
        self, request: HttpRequest, obj: Any = None
    ) -> tuple[str, ...]:
        return self.fixed if obj else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        ends = {"expires_at": timezone.now() + self.usual}
        return ends | super().get_changeform_initial_data(request)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the new secret; no later page can."""
        context = {
            **self.admin_site.each_context(request),
            "title": f"{self.secret_name} for {obj}",
            "opts": self.opts,
            "made": obj,
            "label": self.secret_name,
            "secret": obj.secret,
        }
        template = f"admin/runners/{self.opts.model_name}/made.html"
        return TemplateResponse(request, template, context)

    @admin.display(description="Usable", boolean=True)
    def usable(self, row: Any) -> bool:
        return row.revoked_at is None and row.expires_at > timezone.now()
