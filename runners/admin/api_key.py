from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_variables

from runners.admin.by_role import changes
from runners.admin.columns import ago_tag
from runners.admin.shown_once import EndedFilter, ShownOnceAdmin
from runners.models import ApiKey
from runners.rights.roles import Action, AnyUser
from runners.views.account.security_log import record


class MakeKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = ApiKey
        fields: ClassVar = ["name", "scope", "race", "can_write", "expires_at"]
        help_texts: ClassVar = {
            "race": "Of a key for one race.",
            "can_write": "Otherwise the key only reads.",
        }


@admin.register(ApiKey)
class ApiKeyAdmin(ShownOnceAdmin):
    """An account has keys of its own. Only administrators issue keys for all races, and
    see those of others.
    """

    needs = changes(Action.SYSTEMS, Action.SYSTEMS)
    secret_name = "API key"
    usual = timedelta(days=90)
    fixed = (
        *("account", "scope", "race", "can_write", "expires_at", "revoked_at"),
        *("last_used_at", "created_at"),
    )
    form = MakeKeyForm
    list_display = (
        *("name", "account", "scope", "race", "can_write", "usable"),
        *("expires_at", "last_use", "created_at"),
    )
    list_select_related = ("account", "race")
    list_filter = (EndedFilter, "scope")
    search_fields = ("name", "account__username", "race__name")
    autocomplete_fields = ("race",)

    def rows_of(
        self, rows: QuerySet[Any], user: AnyUser, action: Action
    ) -> QuerySet[Any]:
        return rows.filter(account=user.pk)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        keys = super().get_queryset(request).defer("race__line")
        return (
            keys if request.user.is_superuser else keys.filter(account=request.user.pk)
        )

    def get_fields(
        self, request: HttpRequest, obj: ApiKey | None = None
    ) -> tuple[str, ...]:
        if obj is None:
            return ("name", "scope", "race", "can_write", "expires_at")
        return ("name", *self.fixed)

    def formfield_for_choice_field(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name == "scope" and not request.user.is_superuser:
            scopes = ApiKey.Scope
            kwargs["choices"] = [
                (scope.value, scope.label) for scope in (scopes.RACE, scopes.ORGANISER)
            ]
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    @sensitive_variables()
    def save_model(
        self, request: HttpRequest, obj: ApiKey, form: Any, change: bool
    ) -> None:
        if change:
            obj.save(update_fields=["name"])
            return
        account = cast(User, request.user)
        made, plain = ApiKey.objects.issue(account=account, **form.cleaned_data)
        obj.pk, obj.account = made.pk, account
        obj.secret = plain  # type: ignore[attr-defined]
        record(request, f"issued the API key {made.pk} ({made.scope}) of", account)

    def delete_model(self, request: HttpRequest, obj: ApiKey) -> None:
        record(request, f"deleted the API key {obj.pk} of", obj.account)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset.select_related("account"):
            self.delete_model(request, key)

    @admin.display(description="Last use", ordering="last_used_at")
    def last_use(self, key: ApiKey) -> SafeString | str:
        return ago_tag(key.last_used_at)

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        keys = list(queryset.filter(revoked_at=None).select_related("account"))
        for key in keys:
            key.revoke()
            record(request, f"revoked the API key {key.pk} of", key.account)
        self.message_user(
            request,
            f"{len(keys)} revoked. Systems that use them have no access any more."
            if keys
            else "The selected keys had been revoked before.",
            messages.SUCCESS,
        )
