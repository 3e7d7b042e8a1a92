"""Error pages, with DEBUG as well: without a traceback or the list of URLs.

Without DEBUG, Django renders the templates 400, 403, 404 and 500 itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter
from django.views.defaults import page_not_found
from redis.exceptions import RedisError

from runners.serving.bodies import JSON_SUFFIXES

logger = logging.getLogger(__name__)


class PlainExceptionReporter(ExceptionReporter):
    """Reports that an error occurred; the details are in the log.

    For `DEFAULT_EXCEPTION_REPORTER`.
    """

    def get_traceback_html(self) -> SafeString:
        return render_to_string("500.html")

    def get_traceback_text(self) -> SafeString:
        return SafeString("Something went wrong. It has been written to the log.\n")


GetResponse = Callable[[HttpRequest], HttpResponseBase]


def json_errors(get_response: GetResponse) -> GetResponse:
    """Replace the error pages of addresses that programs read by JSON."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if not (request.path.endswith(JSON_SUFFIXES) and is_page(response)):
            return response
        status = HTTPStatus(response.status_code)
        error = {"code": f"http.{status.value}", "detail": f"{status.phrase}."}
        return with_headers(JsonResponse(error, status=status), response)

    return middleware


def is_page(response: HttpResponseBase) -> bool:
    """Return whether a response is an error for people and not for programs."""
    is_json = "json" in response.get("Content-Type", "")
    return response.status_code >= HTTPStatus.BAD_REQUEST and not is_json


def with_headers(
    response: HttpResponseBase, replaced: HttpResponseBase
) -> HttpResponseBase:
    """Return a response with the headers of the one that it replaces."""
    for name, value in replaced.items():
        if not name.startswith("Content-"):
            response.setdefault(name, value)
    return response


class NotFoundPage(MiddlewareMixin):
    """Renders the project's page for 404."""

    # This is the innermost middleware, so that all synchronous ones run in one thread.
    # Otherwise each of them switches threads twice.
    async_capable = False

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        return (
            page_not_found(request, exception)
            if isinstance(exception, Http404)
            else None
        )

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        # No URL matched, so Django has responded with its list of URLs.
        if (
            settings.DEBUG
            and response.status_code == 404
            and not request.resolver_match
        ):
            return page_not_found(request, Http404())
        return response


class CacheUnavailablePage(MiddlewareMixin):
    """Responds with 503 while Redis, which counts for limits, is unavailable."""

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        if not isinstance(exception, RedisError):
            return None
        logger.warning("Redis is unavailable, so %s was refused", request.path)
        return render(request, "503.html", status=HTTPStatus.SERVICE_UNAVAILABLE)
