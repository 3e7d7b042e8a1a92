"""The star: follow and unfollow a runner in one's account."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from runners.preferences.following import (
    follow_runner,
    followable_runners,
    unfollow_runner,
)


@require_POST
def follow(request: HttpRequest, code: str) -> JsonResponse:
    """Follow a runner, or ask to; returns {"status": accepted | pending | refused}."""
    if not request.user.is_authenticated:
        return _sign_in_first()
    runner = get_object_or_404(followable_runners(user=request.user), code=code)
    return JsonResponse({"status": follow_runner(user=request.user, runner=runner)})


@require_POST
def unfollow(request: HttpRequest, code: str) -> JsonResponse:
    """Stop following a runner; return {"status": null}.

    The result is the same if they were not followed.
    """
    if not request.user.is_authenticated:
        return _sign_in_first()
    unfollow_runner(user=request.user, code=code)
    return JsonResponse({"status": None})


def _sign_in_first() -> JsonResponse:
    return JsonResponse(
        {"error": "account.required", "detail": "Sign in to follow in your account."},
        status=HTTPStatus.FORBIDDEN,
    )
