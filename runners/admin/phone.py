"""Columns about phones for the lists of tokens."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from runners.admin.columns import ago_tag
from runners.models import Phone, RunnerToken


def phone_of(token: RunnerToken) -> Phone | None:
    """Return the phone that used a token, or None."""
    phone: Phone | None = getattr(token, "phone", None)
    return phone


class PhoneColumns:
    """The list has to `select_related` the phone."""

    @admin.display(description="App", ordering="phone__app", empty_value="–")
    def app(self, token: RunnerToken) -> str | None:
        phone = phone_of(token)
        return phone.app or None if phone else None

    @admin.display(description="Last contact", ordering="phone__contact_at")
    def last_contact(self, token: RunnerToken) -> SafeString | str:
        phone = phone_of(token)
        return ago_tag(phone.contact_at if phone else None)

    @admin.display(description="Refused", ordering="phone__refused", empty_value="–")
    def refused(self, token: RunnerToken) -> SafeString | int | None:
        phone = phone_of(token)
        if phone is None or not phone.refused:
            return 0 if phone else None
        return format_html(
            '<span title="{}">{} · {}</span>',
            phone.last_reason,
            phone.refused,
            ", ".join(sorted(phone.reasons)),
        )

    @admin.display(description="Refused, by reason", empty_value="–")
    def refusals(self, token: RunnerToken) -> SafeString | None:
        phone = phone_of(token)
        if phone is None or not phone.refused:
            return None
        reasons: dict[str, Any] = phone.reasons
        return format_html(
            "{}<br>Last: {} ({})",
            format_html_join(", ", "{} × {}", ((n, c) for c, n in reasons.items())),
            phone.last_reason,
            ago_tag(phone.refused_at),
        )
