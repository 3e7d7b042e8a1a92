from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from runners.admin.by_role import ByRole, NeverEdited, changes
from runners.admin.columns import ago_tag
from runners.admin.phone import PhoneColumns
from runners.admin.shown_once import EndedFilter
from runners.models import RunnerToken
from runners.rights.roles import Action, AnyUser, runners_managed


class TokenColumns(PhoneColumns):
    @admin.display(description="Last use", ordering="last_used_at")
    def last_use(self, token: RunnerToken) -> SafeString | str:
        return ago_tag(token.last_used_at)

    @admin.display(description="Usable", boolean=True, ordering="revoked_at")
    def usable(self, token: RunnerToken) -> bool:
        ends = token.expires_at
        is_over = ends is not None and ends <= timezone.now()
        return token.revoked_at is None and not is_over


@admin.register(RunnerToken)
class RunnerTokenAdmin(TokenColumns, ByRole):
    """Tokens are issued on a runner's page, which can show the plain text."""

    needs = changes(Action.SWAP, Action.SWAP)

    list_display = (
        *("name", "runner", "usable", "app", "last_contact", "refused"),
        *("last_use", "created_at", "revoked_at"),
    )
    list_select_related = ("runner", "phone")
    list_filter = (EndedFilter,)
    search_fields = ("name", "runner__name", "=runner__code")
    readonly_fields = (
        *("runner", "created_at", "last_used_at", "expires_at", "revoked_at"),
        *("app", "last_contact", "refusals"),
    )
    fields = ("name", *readonly_fields)
    actions = ("revoke",)

    def rows_of(
        self, rows: QuerySet[Any], user: AnyUser, action: Action
    ) -> QuerySet[Any]:
        return rows.filter(runner__in=runners_managed(user, action))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description="Revoke the selected tokens", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[RunnerToken]) -> None:
        tokens = list(queryset.usable())  # type: ignore[attr-defined]
        for token in tokens:
            token.revoke()
        self.message_user(
            request,
            f"{len(tokens)} revoked. Phones that use them can no longer publish."
            if tokens
            else "The selected tokens had been revoked before.",
            messages.SUCCESS,
        )


class TokenInline(TokenColumns, NeverEdited, admin.TabularInline):  # type: ignore[type-arg]
    """The tokens of a runner, read-only; each is changed on its own page.

    Ended ones accumulate and are only in the list of tokens.
    """

    model = RunnerToken
    fields = ("name", "app", "last_contact", "refused", "last_use", "created_at")
    readonly_fields = fields
    show_change_link = True
    can_delete = False
    extra = 0
    ordering = ("-created_at",)
    verbose_name_plural = "usable tokens"

    def get_queryset(self, request: HttpRequest) -> QuerySet[RunnerToken]:
        tokens = super().get_queryset(request).select_related("runner", "phone")
        return tokens.usable()  # type: ignore[no-any-return,attr-defined]
