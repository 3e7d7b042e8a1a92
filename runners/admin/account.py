"""Second factors of accounts. The office can delete a lost one and read no secret."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from django.contrib import admin

from runners.admin.by_role import NeverEdited

admin.site.unregister(Authenticator)


@admin.register(Authenticator)
class AuthenticatorAdmin(NeverEdited, admin.ModelAdmin):  # type: ignore[type-arg]
    fields = list_display = ("user", "type", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("=user__username",)
