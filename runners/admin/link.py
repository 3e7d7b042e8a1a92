from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from runners.admin.by_role import changes
from runners.admin.columns import ago_tag
from runners.admin.shown_once import EndedFilter, ShownOnceAdmin
from runners.models import ShareLink
from runners.rights.roles import Action, organises_all


class MakeLinkForm(forms.ModelForm):  # type: ignore[type-arg]
    secret = forms.CharField(
        label="PIN",
        required=False,
        validators=[RegexValidator(r"\A[0-9]{6,12}\Z", "Use 6 to 12 digits.")],
        help_text="Optional: 6 to 12 digits.",
    )

    class Meta:
        model = ShareLink
        fields = ("label", "runners", "race", "expires_at")
        help_texts: ClassVar = {"race": "Choose either runners or a race."}

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if bool(data.get("runners")) == bool(data.get("race")):
            raise forms.ValidationError(
                "A link is for runners or for a race, not both."
            )
        return data


@admin.register(ShareLink)
class ShareLinkAdmin(ShownOnceAdmin):
    """Organisers have links to their races; those to runners are the runners' own."""

    needs = changes(Action.EDIT, Action.EDIT)
    secret_name = "Link"
    usual = timedelta(days=1)
    fixed = (
        *("shows", "expires_at", "revoked_at", "has_pin", "views"),
        *("last_viewed_at", "created_by", "created_at"),
    )
    list_display = (
        "label",
        "shows",
        "usable",
        "ends",
        "viewers",
        "views",
        "last_view",
        "has_pin",
        "created_by",
    )
    list_select_related = ("race", "created_by")
    list_filter = (EndedFilter,)
    search_fields = ("label", "runners__name", "=runners__code", "race__name")
    autocomplete_fields = ("runners", "race")
    date_hierarchy = "created_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ShareLink]:
        links = super().get_queryset(request).prefetch_related("runners")
        return links.with_viewers()  # type: ignore[attr-defined, no-any-return]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None:
            kwargs["form"] = MakeLinkForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(
        self, request: HttpRequest, obj: ShareLink | None = None
    ) -> tuple[str, ...]:
        if obj is None:
            what = ("runners", "race") if organises_all(request.user) else ("race",)
            return ("label", *what, "expires_at", "secret")
        return ("label", *self.fixed)

    def save_model(
        self, request: HttpRequest, obj: ShareLink, form: Any, change: bool
    ) -> None:
        if change:
            obj.save(update_fields=["label"])
            return
        data = form.cleaned_data
        made, plain = ShareLink.objects.issue(
            label=data["label"],
            expires_at=data["expires_at"],
            runners=list(data.get("runners", ())),
            race=data["race"],
            pin=data["secret"],
            created_by=cast(User, request.user),
        )
        obj.pk = made.pk
        obj.secret = f"{settings.PUBLIC_URL}{reverse('share', args=[plain])}"  # type: ignore[attr-defined]

    @admin.display(description="Shows")
    def shows(self, link: ShareLink) -> str:
        return (
            str(link.race)
            if link.race
            else ", ".join(str(runner) for runner in link.runners.all()) or "nobody"
        )

    @admin.display(description="Ends (UTC)", ordering="expires_at")
    def ends(self, link: ShareLink) -> str:
        return f"{link.expires_at:%Y-%m-%d %H:%M}"

    @admin.display(description="PIN", boolean=True)
    def has_pin(self, link: ShareLink) -> bool:
        return bool(link.pin)

    @admin.display(description="Watching now", ordering="viewers")
    def viewers(self, link: ShareLink) -> int:
        return link.viewers  # type: ignore[attr-defined, no-any-return]

    @admin.display(description="Last opened", ordering="last_viewed_at")
    def last_view(self, link: ShareLink) -> SafeString | str:
        return ago_tag(link.last_viewed_at)

    @admin.action(description="Revoke the selected links", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ShareLink]) -> None:
        links = list(queryset.usable())  # type: ignore[attr-defined]
        for link in links:
            link.revoke()
        self.message_user(
            request,
            f"{len(links)} revoked. Pages opened by these links end now."
            if links
            else "The selected links had ended before.",
            messages.SUCCESS,
        )
