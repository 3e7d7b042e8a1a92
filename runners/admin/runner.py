from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.debug import sensitive_variables

from runners.admin.by_role import ByRole
from runners.admin.columns import (
    RaceDayMedia,
    SignalsByRole,
    liveness_filter,
    race_day_columns,
    race_filter,
)
from runners.admin.entry import EntriesOfRunner
from runners.admin.token import TokenInline
from runners.models import (
    Entry,
    Follow,
    LatestPosition,
    Position,
    Runner,
    RunnerToken,
)
from runners.rights.roles import (
    Action,
    AnyUser,
    organises_all,
    runners_managed,
    runners_of,
)
from runners.views.numbers import whole_number


class IssueTokenForm(forms.Form):
    name = forms.CharField(
        max_length=60,
        label="What is it for?",
        help_text="The phone or app that will use the token, so that you know "
        "later which one to revoke.",
    )


@admin.register(Runner)
class RunnerAdmin(SignalsByRole, ByRole):
    """Organisers change runners who are in their races only, and have no account."""

    needs: ClassVar = {"view": Action.ENTER}
    _columns = race_day_columns("latest")
    _liveness = liveness_filter("latest")
    signals: ClassVar = (*_columns, _liveness)
    list_display = (
        "name",
        *_columns,
        "code",
        "visibility",
        "account",
    )
    list_select_related = ("latest", "account")
    list_filter = (
        "visibility",
        _liveness,
        race_filter("entries__race"),
    )
    search_fields = ("name", "code", "=entries__bib")
    list_per_page = 50
    fields = ("name", "code", "colour", "visibility", "cheers", "account")
    autocomplete_fields = ("account",)
    inlines = (EntriesOfRunner, TokenInline)
    Media = RaceDayMedia

    def get_readonly_fields(
        self, request: HttpRequest, obj: Runner | None = None
    ) -> tuple[str, ...]:
        readonly = ("code",) if obj else ()
        # An account of their choice would see and publish the runner's positions.
        return readonly if organises_all(request.user) else (*readonly, "account")

    def rows_of(
        self, rows: QuerySet[Any], user: AnyUser, action: Action
    ) -> QuerySet[Any]:
        return rows.filter(pk__in=runners_of(user, action))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if organises_all(request.user):
            return super().has_change_permission(request, obj)
        managed = runners_managed(request.user, Action.ENTER)
        return obj is not None and managed.contains(obj)

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return list(self.inlines) if organises_all(request.user) else []

    def view_on_site(self, obj: Runner) -> str:
        return reverse("runner", args=[obj.code])

    def get_urls(self) -> list[URLPattern]:
        issue = path(
            "<path:object_id>/issue-token/",
            self.admin_site.admin_view(self.issue_token),
            name="runners_runner_issue_token",
        )
        return [issue, *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        managed = runners_managed(request.user, Action.ISSUE)
        may_issue = managed.filter(pk=whole_number(object_id) or 0).exists()
        context = (extra_context or {}) | {"may_issue": may_issue}
        return super().change_view(request, object_id, form_url, context)

    @sensitive_variables("plain")
    def issue_token(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for a name, then show the new token; no later page can."""
        runner = get_object_or_404(Runner, pk=whole_number(object_id))
        if not runners_managed(request.user, Action.ISSUE).contains(runner):
            raise PermissionDenied
        form = IssueTokenForm(request.POST or None)
        plain = ""
        if request.method == "POST" and form.is_valid():
            token, plain = RunnerToken.objects.issue(
                runner, name=form.cleaned_data["name"]
            )
            self.log_change(request, runner, f"Issued the token “{token.name}”.")
        # Responses of the admin are never cached, so neither the browser nor a proxy
        # keeps the page with the token.
        context = {
            **self.admin_site.each_context(request),
            "title": f"Issue a token for {runner}",
            "opts": self.opts,
            "media": self.media,
            "runner": runner,
            "form": form,
            "token": plain,
            # ws: instead of http:, and wss: instead of https:.
            "websocket_url": f"ws{settings.PUBLIC_URL.removeprefix('http')}/ws/",
        }
        return TemplateResponse(
            request, "admin/runners/runner/issue_token.html", context
        )

    def get_deleted_objects(
        self, objs: QuerySet[Runner] | Sequence[Runner], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Count what is deleted with a runner instead of listing 100,000 positions."""
        runners = list(objs)
        counts = {
            str(model._meta.verbose_name_plural).title(): model._default_manager.filter(
                runner__in=runners
            ).count()
            for model in (Position, LatestPosition, RunnerToken, Entry, Follow)
        }
        return [str(runner) for runner in runners], counts, set(), []
