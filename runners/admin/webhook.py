from __future__ import annotations

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runners.admin.by_role import ByRole, changes
from runners.admin.columns import ago_tag
from runners.models import Webhook, WebhookMessage
from runners.notifying.endpoints import EndpointRefused, read_endpoint
from runners.rights.roles import Action, AnyUser
from runners.views.account.security_log import record


class WebhookForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Webhook
        fields: ClassVar = ["name", "url", "race"]

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        try:
            read_endpoint(url)
        except EndpointRefused as error:
            raise forms.ValidationError(str(error)) from error
        return url


@admin.register(Webhook)
class WebhookAdmin(ByRole):
    """Accounts have webhooks of their own; administrators see all."""

    needs = changes(Action.SYSTEMS, Action.SYSTEMS)
    form = WebhookForm
    list_display = ("name", "url", "race", "account", "state", "waiting", "messages")
    list_select_related = ("account", "race")
    search_fields = ("name", "url")
    autocomplete_fields = ("race",)
    actions = ("enable", "disable")

    def rows_of(
        self, rows: QuerySet[Any], user: AnyUser, action: Action
    ) -> QuerySet[Any]:
        return rows.filter(account=user.pk)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Webhook]:
        webhooks: QuerySet[Webhook] = super().get_queryset(request)
        webhooks = webhooks.defer("race__line")
        webhooks = webhooks.annotate(
            waiting=Count("messages", filter=Q(messages__due_at__isnull=False))
        )
        if request.user.is_superuser:
            return webhooks
        return webhooks.filter(account=request.user.pk)

    def get_fields(
        self, request: HttpRequest, obj: Webhook | None = None
    ) -> tuple[str, ...]:
        if obj is None:
            return ("name", "url", "race")
        return ("name", "url", "race", "secret", "account", "state", "messages")

    def get_readonly_fields(
        self, request: HttpRequest, obj: Webhook | None = None
    ) -> tuple[str, ...]:
        return () if obj is None else ("secret", "account", "state", "messages")

    def save_model(
        self, request: HttpRequest, obj: Webhook, form: Any, change: bool
    ) -> None:
        account = cast(User, request.user)
        if not change:
            obj.account = account
        super().save_model(request, obj, form, change)
        record(request, f"saved the webhook {obj.pk} of", obj.account)

    def response_add(
        self, request: HttpRequest, obj: Webhook, post_url_continue: str | None = None
    ) -> Any:
        """Show the page with its secret, which the receiver needs."""
        self.message_user(
            request,
            "Give the secret to the receiver, which checks signatures with it.",
            messages.SUCCESS,
        )
        return redirect("admin:runners_webhook_change", obj.pk)

    @admin.display(description="Secret")
    def secret(self, webhook: Webhook) -> SafeString:
        return format_html("<code>{}</code>", webhook.secret)

    @admin.display(description="State")
    def state(self, webhook: Webhook) -> SafeString | str:
        if webhook.disabled_at is not None:
            return format_html("Disabled {}", ago_tag(webhook.disabled_at))
        if webhook.failing_since is not None:
            return format_html("Failing since {}", ago_tag(webhook.failing_since))
        return "Active"

    @admin.display(description="Waiting")
    def waiting(self, webhook: Webhook) -> int:
        return webhook.waiting  # type: ignore[attr-defined, no-any-return]

    @admin.display(description="Messages")
    def messages(self, webhook: Webhook) -> SafeString:
        page = reverse("admin:runners_webhookmessage_changelist")
        return format_html(
            '<a href="{}?webhook__id__exact={}">Messages</a>', page, webhook.pk
        )

    @admin.action(
        description="Enable the selected webhooks again", permissions=["change"]
    )
    def enable(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        webhooks = Webhook.objects.filter(pk__in=[w.pk for w in queryset])
        changed = webhooks.update(disabled_at=None, failing_since=None)
        self.message_user(request, f"{changed} enabled.", messages.SUCCESS)

    @admin.action(description="Disable the selected webhooks", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        webhooks = Webhook.objects.filter(pk__in=[w.pk for w in queryset])
        changed = webhooks.filter(disabled_at=None).update(disabled_at=timezone.now())
        self.message_user(request, f"{changed} disabled.", messages.SUCCESS)


@admin.register(WebhookMessage)
class WebhookMessageAdmin(ByRole):
    """What was sent, and the result of the last attempt."""

    needs: ClassVar = {"view": Action.SYSTEMS}
    list_display = (
        *("kind", "webhook", "created_at", "attempts", "result"),
        *("delivered_at", "due_at"),
    )
    list_select_related = ("webhook",)
    list_filter = ("kind", ("webhook", admin.RelatedOnlyFieldListFilter))
    fields = readonly_fields = (
        *("message_id", "kind", "webhook", "body", "created_at"),
        *("attempts", "result", "delivered_at", "due_at"),
    )
    actions = ("send_again",)

    def rows_of(
        self, rows: QuerySet[Any], user: AnyUser, action: Action
    ) -> QuerySet[Any]:
        return rows.filter(webhook__account=user.pk)

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookMessage]:
        sent = super().get_queryset(request)
        if request.user.is_superuser:
            return sent
        return sent.filter(webhook__account=request.user.pk)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description="Send the selected messages again", permissions=["view"])
    def send_again(
        self, request: HttpRequest, queryset: QuerySet[WebhookMessage]
    ) -> None:
        sent = queryset.update(due_at=timezone.now(), attempts=0, delivered_at=None)
        self.message_user(
            request,
            f"{sent} will be sent again, with the same ids.",
            messages.SUCCESS,
        )
