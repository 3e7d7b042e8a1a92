"""Renders the page for 403, and logs who was refused."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin
from django.views.defaults import permission_denied

from runners.views.account.security_log import record


class RefusedPage(MiddlewareMixin):
    """Logs one line for a refused page, where Django would log a traceback."""

    # As NotFoundPage: no further thread.
    async_capable = False

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        if not isinstance(exception, PermissionDenied):
            return None
        match = request.resolver_match
        view = match.view_name if match else "a page"
        record(request, f"was refused {view} as", getattr(request, "user", None))
        return permission_denied(request, exception)
