"""Conditional requests and pages of lists."""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from ninja import Query, Schema

from runners.api.problems import NotModified, Problem

ETAG = {"ETag": {"schema": {"type": "string"}, "description": "The version."}}


def _condition(name: str, text: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"name": name, "in": "header", "description": text, "schema": schema}


# What the descriptions of operations say about conditions.
CONDITIONAL_READ = {
    "parameters": [_condition("If-None-Match", "An `ETag` that you have.")],
    "responses": {
        200: {"headers": ETAG},
        304: {"description": "Nothing has changed.", "headers": ETAG},
    },
}
CONDITIONAL_DELETE = {
    "parameters": [_condition("If-Match", "The `ETag` that is to be changed.")],
}
CONDITIONAL_CHANGE = {
    "parameters": [
        *CONDITIONAL_DELETE["parameters"],
        _condition("If-None-Match", "`*`: only if there is nothing yet."),
    ],
    "responses": {200: {"headers": ETAG}},
}

S = TypeVar("S", bound=Schema)
M = TypeVar("M", bound=Model)
MAX_PAGE = 1_000
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items of a page.")]
Cursor = Annotated[
    int,
    Query(
        ge=0, le=2**53, description="`next` of the page before; 0 is the first page."
    ),
]


def etag_of(body: Schema) -> str:
    """Return the entity tag of a representation."""
    text = body.model_dump_json().encode()
    return f'"{blake2b(text, digest_size=12).hexdigest()}"'


def check_conditions(request: HttpRequest, body: Schema | None) -> None:
    """Check `If-Match` and `If-None-Match` against what is stored now.

    Raises `NotModified` or `Problem`.
    """
    etag = None if body is None else etag_of(body)
    answer = get_conditional_response(request, etag=etag)
    if answer is None:
        return
    if answer.status_code == 304:
        raise NotModified(etag)
    raise Problem(
        *(412, "request.precondition"),
        "This is not the current version. Read it again, and repeat your change.",
    )


def tagged(request: HttpRequest, response: HttpResponse, body: S) -> S:
    """Return a representation with its entity tag; raises `NotModified`."""
    if request.method in ("GET", "HEAD"):
        check_conditions(request, body)
    response["ETag"] = etag_of(body)
    return body


def page_of(rows: QuerySet[M], cursor: int, limit: int) -> tuple[list[M], int | None]:
    """Return the rows after a cursor by primary key, and the cursor of the next page.

    Rows that are added meanwhile are on the last page; none is skipped or repeated.
    """
    found: list[Any] = list(rows.order_by("pk").filter(pk__gt=cursor)[: limit + 1])
    return found[:limit], found[limit - 1].pk if len(found) > limit else None
