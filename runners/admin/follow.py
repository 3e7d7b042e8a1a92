from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from runners.admin.by_role import ByRole
from runners.models import Follow


@admin.register(Follow)
class FollowAdmin(ByRole):
    list_display = ("user", "runner", "status", "created_at")
    list_select_related = ("user", "runner")
    list_filter = ("status",)
    search_fields = ("user__username", "runner__name", "=runner__code")
    autocomplete_fields = ("user", "runner")
    date_hierarchy = "created_at"
    actions = ("approve", "refuse")

    @admin.action(description="Approve the selected requests", permissions=["change"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Follow]) -> None:
        count = self._answer(queryset, Follow.Status.ACCEPTED)
        self.message_user(request, f"{count} approved. They can see the runner now.")

    @admin.action(description="Refuse the selected requests", permissions=["change"])
    def refuse(self, request: HttpRequest, queryset: QuerySet[Follow]) -> None:
        count = self._answer(queryset, Follow.Status.REFUSED)
        self.message_user(request, f"{count} refused.")

    def _answer(self, queryset: QuerySet[Follow], status: str) -> int:
        """Save row by row, as on each row's page, so that signals are sent."""
        # The race office must not undo a block by a runner.
        follows = list(queryset.exclude(status__in=[status, Follow.Status.BLOCKED]))
        for follow in follows:
            follow.status = status
            follow.save(update_fields=["status"])
        return len(follows)
