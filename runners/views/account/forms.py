"""Forms of accounts that differ from those of django-allauth."""

from __future__ import annotations

from allauth.account.forms import LoginForm
from allauth.mfa.recovery_codes.forms import GenerateRecoveryCodesForm
from django import forms
from django.utils.translation import gettext_lazy as _


class SignInForm(LoginForm):  # type: ignore[misc]
    """Keeps the field name that programs fill in, `username`."""

    def add_prefix(self, field_name: str) -> str:
        return "username" if field_name == "login" else field_name


class NewCodesForm(GenerateRecoveryCodesForm):  # type: ignore[misc]
    """Creates recovery codes also without a second factor: they reset a password."""

    def clean(self) -> None:
        pass


class RecoverForm(forms.Form):
    username = forms.CharField(
        label=_("Username"),
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "username"}),
    )
    code = forms.CharField(
        label=_("Recovery code"),
        max_length=20,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "inputmode": "numeric"},
        ),
    )
