"""The page of the link with which a runner stops sharing without a sign-in."""

from __future__ import annotations

import logging
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from runners.preferences.runner_settings import sharing_pause, stop_link_runner
from runners.views.share import kept_secret

logger = logging.getLogger(__name__)


@sensitive_variables("token")
@require_http_methods(["GET", "HEAD", "POST"])
def stop(request: HttpRequest, token: str) -> HttpResponse:
    """Pause sharing by POST, because programs open links in messages.

    Shows nothing of the runner: anybody who finds the link can stop them, and no more.
    """
    runner = stop_link_runner(token)
    if runner is not None and request.method == "POST":
        sharing_pause(runner=runner)
        logger.info("A stop link ended the sharing of runner %s", runner.pk)
    response = render(
        request,
        "runners/stop.html",
        {
            "is_known": runner is not None,
            "is_stopped": runner and runner.pauses.filter(ended_at=None).exists(),
        },
        status=HTTPStatus.NOT_FOUND if runner is None else HTTPStatus.OK,
    )
    # With "no-referrer" the form would be refused, as in `share._request_pin`.
    return kept_secret(response, referrer="same-origin")
