"""The browser as the runner's phone: a page without personal data, and its requests."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from runners.models import Runner, RunnerToken
from runners.models.runner import token_digest
from runners.preferences.runner_settings import TooManyTokens, token_issue

# The name of the token that such a browser uses.
DEVICE_LENGTH = 40


@require_safe
def browser_phone(request: HttpRequest) -> HttpResponse:
    """Show the page, which is the same for all, because a service worker caches it."""
    return render(request, "runners/browser_phone.html")


@never_cache
@require_safe
def browser_account(request: HttpRequest) -> JsonResponse:
    """Return the signed-in account and its runner."""
    runner = None
    if request.user.is_authenticated:
        runner = Runner.objects.filter(account=request.user).first()
    return JsonResponse(
        {
            "signedIn": request.user.is_authenticated,
            "runner": runner and {"code": runner.code, "name": runner.name},
            "csrf": get_token(request),
        }
    )


@never_cache
@require_http_methods(["GET", "POST"])
@sensitive_variables("plain", "scheme")
def browser_token(request: HttpRequest) -> JsonResponse:
    """Create a token for the runner's browser. GET returns the runner of a token."""
    if request.method == "GET":
        scheme, _, plain = request.headers.get("Authorization", "").partition(" ")
        row = (
            RunnerToken.objects.usable()
            .select_related("runner")
            .filter(digest=token_digest(plain))
            .first()
        )
        if scheme != "Bearer" or row is None:
            return JsonResponse({}, status=HTTPStatus.UNAUTHORIZED)
        return JsonResponse({"runner": row.runner.code, "name": row.runner.name})
    runner = None
    if request.user.is_authenticated:
        runner = Runner.objects.filter(account=request.user).first()
    if runner is None:
        return JsonResponse({}, status=HTTPStatus.FORBIDDEN)
    device = "".join(filter(str.isprintable, request.POST.get("device", "")))
    name = f"Browser ({device[:DEVICE_LENGTH]})" if device else "Browser"
    try:
        _, plain = token_issue(runner=runner, name=name)
    except TooManyTokens as error:
        return JsonResponse(
            {"code": "rate.limited", "detail": str(error)},
            status=HTTPStatus.TOO_MANY_REQUESTS,
        )
    return JsonResponse({"token": plain, "runner": runner.code, "name": runner.name})
