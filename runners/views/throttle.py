"""Delays the responses to wrong PINs, and refusals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import async_only_middleware

from runners.rights.failures import Failures
from runners.serving import process
from runners.views.turns import network

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

# The delay after the first failure. It doubles with each further failure, up to the
# longest.
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0


failures = Failures(FIRST_WAIT_S, LONGEST_WAIT_S)


def record_failure(request: HttpRequest, name: str) -> None:
    """Mark the response to this request to be delayed."""
    request.failed_name = name  # type: ignore[attr-defined]


@async_only_middleware
def slow_failures(get_response: GetResponse) -> GetResponse:
    """Delay the response to a wrong PIN, longer after each failure.

    Successful attempts are not delayed. Requests that are too many (429) are, because
    programs that repeat them at once would occupy the process. First in MIDDLEWARE,
    outside of everything that needs a thread, so that no thread sleeps.
    """

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        name = getattr(request, "failed_name", None)
        if name is not None:
            await failures.delay(name)
        elif (
            response.status_code == HTTPStatus.TOO_MANY_REQUESTS
            and process.is_current()
        ):
            await process.current().refusals.delay(network(request))
        return response

    return middleware
