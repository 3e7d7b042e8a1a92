"""The pages of accounts: those of django-allauth that are in use, and recovery codes.

Chosen one by one, as `allauth.urls` has more: phone numbers, codes by mail.
"""

from __future__ import annotations

from allauth.account import views
from allauth.account.decorators import reauthentication_required
from allauth.usersessions.views import list_usersessions
from django.urls import include, path, re_path
from django.views.decorators.http import require_POST
from django.views.generic import RedirectView

from runners.views.account import recovery, security_log

security_log.connect()

urlpatterns = [
    path("sign-in/", views.login, name="account_login"),
    path("sign-up/", views.signup, name="account_signup"),
    path("sign-out/", require_POST(views.logout), name="account_logout"),
    path("account/", RedirectView.as_view(pattern_name="mfa_index"), name="account"),
    path("account/inactive/", views.account_inactive, name="account_inactive"),
    path("account/confirm/", views.reauthenticate, name="account_reauthenticate"),
    path("account/mail/", views.email, name="account_email"),
    path(
        "account/mail/sent/",
        views.email_verification_sent,
        name="account_email_verification_sent",
    ),
    path(
        "account/mail/confirm/<str:key>/",
        views.confirm_email,
        name="account_confirm_email",
    ),
    path("account/password/", views.password_change, name="account_change_password"),
    path("account/password/new/", views.password_set, name="account_set_password"),
    path(
        "account/password/reset/",
        views.password_reset,
        name="account_reset_password",
    ),
    path(
        "account/password/reset/sent/",
        views.password_reset_done,
        name="account_reset_password_done",
    ),
    path("account/password/reset/code/", recovery.recover, name="account_recover"),
    re_path(
        "^account/password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[^/]+)/$",
        views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "account/password/reset/done/",
        views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("account/security/", include("allauth.mfa.urls")),
    path(
        "account/sessions/",
        reauthentication_required(list_usersessions, allow_get=True),
        name="usersessions_list",
    ),
]
