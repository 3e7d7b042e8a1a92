"""Errors of the API as RFC 9457 describes them, `application/problem+json`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Literal, get_args

import orjson
from django.core.exceptions import RequestDataTooBig, ValidationError
from django.db import IntegrityError, OperationalError
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotModified,
)
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError
from ninja.errors import ValidationError as InvalidRequest
from redis.exceptions import RedisError

from runners.views.errors import is_page, with_headers

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
PREFIX = "/api/"
Code = Literal[
    "address.unknown",
    "body.too_large",
    "body.too_slow",
    "entry.unknown",
    "key.invalid",
    "key.read_only",
    "method.unsupported",
    "permission.missing",
    "race.no_course",
    "race.unknown",
    "rate.limited",
    "request.conflict",
    "request.invalid",
    "request.precondition",
    "server.failed",
    "store.unavailable",
]
CODES: frozenset[str] = frozenset(get_args(Code))


class FieldProblem(Schema):
    """What is wrong with one value; `at` is its place, such as `entries.3.wave`."""

    at: str
    detail: str


class ProblemBody(Schema):
    """The body of an error."""

    type: Literal["about:blank"] = "about:blank"
    title: str
    status: int
    code: Code
    detail: str
    errors: list[FieldProblem] = []


class Problem(Exception):
    """An error to respond with."""

    def __init__(
        self,
        status: int,
        code: Code,
        detail: str,
        errors: Iterable[FieldProblem] = (),
        **headers: str,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = HTTPStatus(status), code, detail
        self.errors, self.headers = list(errors), headers


class NotModified(Exception):
    """The client has the current version, of this entity tag."""


def invalid(errors: Iterable[FieldProblem]) -> Problem:
    """Return the refusal of a request because of some of its values."""
    errors = list(errors)
    first = errors[0]
    return Problem(
        *(422, "request.invalid", f"{first.at}: {first.detail}"), errors=errors
    )


def add_handlers(api: NinjaAPI) -> None:
    """Respond to each exception of an operation with a problem."""
    for kind, convert in (
        (Problem, lambda error: error),
        (InvalidRequest, _of_request),
        (ValidationError, _of_model),
        (AuthenticationError, _of_key),
        (HttpError, _of_body),
        (RequestDataTooBig, _too_large),
        (IntegrityError, _conflict),
        (OperationalError, _unavailable),
        (RedisError, _unavailable),
    ):
        api.add_exception_handler(kind, _responding(convert))
    api.add_exception_handler(NotModified, _not_modified)


# Errors of addresses without an operation, and of Django.
PAGES: dict[int, tuple[Code, str]] = {
    400: ("request.invalid", "The request is not valid."),
    404: ("address.unknown", "Nothing has this address: see docs/api.md."),
    405: ("method.unsupported", "This address does not have this method."),
    503: ("store.unavailable", "The server cannot count requests now. Send it again."),
}
FAILED: tuple[Code, str] = ("server.failed", "The request failed, which was logged.")


def api_errors(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Replace error pages of the API's addresses by problems (a middleware)."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if not (request.path.startswith(PREFIX) and is_page(response)):
            return response
        status = response.status_code
        problem = Problem(status, *PAGES.get(status, FAILED))
        return with_headers(problem_response(problem), response)

    return middleware


def _responding(convert: Any) -> Any:
    def handle(request: HttpRequest, error: Any) -> HttpResponse:
        return problem_response(convert(error))

    return handle


def problem_response(problem: Problem) -> HttpResponse:
    body = ProblemBody(
        title=problem.status.phrase,
        status=problem.status,
        code=problem.code,
        detail=problem.detail,
        errors=problem.errors,
    )
    return HttpResponse(
        orjson.dumps(body.model_dump()),
        status=problem.status,
        content_type=CONTENT_TYPE,
        headers={name.replace("_", "-"): v for name, v in problem.headers.items()},
    )


def _not_modified(request: HttpRequest, error: Any) -> HttpResponse:
    return HttpResponseNotModified(headers={"ETag": str(error)})


def _of_request(error: InvalidRequest) -> Problem:
    # The first two parts of a place are the kind of the parameter and its name in code.
    return invalid(
        FieldProblem(
            at=".".join(map(str, fault["loc"][_skipped(fault["loc"]) :])),
            detail=fault["msg"],
        )
        for fault in error.errors
    )


def _skipped(place: tuple[Any, ...]) -> int:
    return 2 if place[0] == "body" and len(place) > 2 else 1


def _of_model(error: ValidationError) -> Problem:
    by_field = (
        error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    )
    return invalid(
        FieldProblem(at=name.replace("__all__", ""), detail=" ".join(messages))
        for name, messages in by_field.items()
    )


def _of_key(error: AuthenticationError) -> Problem:
    return Problem(
        *(401, "key.invalid"),
        "Send a usable API key as `Authorization: Bearer KEY`.",
        WWW_Authenticate="Bearer",
    )


def _of_body(error: HttpError) -> Problem:
    # Ninja raises it for a body that is not JSON only.
    return Problem(400, "request.invalid", "The body is not valid JSON.")


def _too_large(error: RequestDataTooBig) -> Problem:
    return Problem(
        *(413, "body.too_large"), "The body is too large. Send several requests."
    )


def _conflict(error: IntegrityError) -> Problem:
    return Problem(
        *(409, "request.conflict"),
        "Somebody else has changed the same data at the same time. Send it again.",
    )


def _unavailable(error: Exception) -> Problem:
    logger.warning("The API has no database: %s", error)
    return Problem(
        *(503, "store.unavailable"),
        "The database is unavailable. Send the same request again later.",
        Retry_After=str(RETRY_AFTER_S),
    )
