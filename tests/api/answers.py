"""HTTP requests and responses, compared with their OpenAPI documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from tests.api.capture import Answer
from tests.api.documents import Document


def operations(document: Document) -> Iterator[tuple[str, str, str]]:
    """Yield (method, path, pointer) of each operation."""
    for path, item in document.content["paths"].items():
        for method in item.keys() - {"parameters"}:
            escaped = path.replace("/", "~1")
            yield method.upper(), path, f"#/paths/{escaped}/{method}"


def pattern_of(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", re.escape(path).replace("\\", "")))


def operation_of(document: Document, answer: Answer) -> str | None:
    """Return the operation of a request, the one with the fewest wildcards."""
    found = [
        (path.count("{"), pointer)
        for method, path, pointer in operations(document)
        if method == answer.method and pattern_of(path).fullmatch(answer.path)
    ]
    return min(found)[1] if found else None


def parameters(document: Document, pointer: str) -> dict[tuple[str, str], str]:
    """Return the pointers of an operation's parameters by (in, name)."""
    found = {}
    for owner in (pointer, pointer.rpartition("/")[0]):
        for number, value in enumerate(document.at(owner).get("parameters", ())):
            parameter, where = document.follow(value, f"{owner}/parameters/{number}")
            found[parameter["in"], parameter["name"]] = where
    return found


def body_of(answer: Answer) -> Any:
    text = answer.body.decode()
    type_ = answer.headers["content-type"].partition(";")[0]
    is_json = type_ in (
        "application/json",
        "application/problem+json",
        "application/geo+json",
    )
    return json.loads(text) if is_json else text


def documented_status(document: Document, pointer: str, answer: Answer) -> str:
    """Return the name of the description of a response: its status, or `default`."""
    status = str(answer.status)
    return status if status in document.at(f"{pointer}/responses") else "default"


def schema_of(document: Document, answer: Answer) -> tuple[str, str | None]:
    """Return the pointers of a response's description and of its schema.

    Raises `LookupError` if the response is not documented.
    """
    pointer = operation_of(document, answer)
    if pointer is None:
        raise LookupError("no such operation")
    named = f"{pointer}/responses/{documented_status(document, pointer, answer)}"
    response, where = document.follow(document.at(named), named)
    if "content" not in response:
        if answer.body:
            raise LookupError("no body")
        return where, None
    type_ = answer.headers["content-type"].partition(";")[0]
    if type_ not in response["content"]:
        raise LookupError(type_)
    return where, f"{where}/content/{type_.replace('/', '~1')}/schema"


def faults(document: Document, answer: Answer) -> Iterator[str]:
    """Yield the differences of a request or its response from the document."""
    try:
        where, schema = schema_of(document, answer)
    except LookupError as error:
        yield f"not documented: {error}"
        return
    for name, header in document.at(where).get("headers", {}).items():
        if header.get("required") and name.lower() not in answer.headers:
            yield f"{name} is missing"
    if schema is not None:
        yield from document.faults(schema, body_of(answer))
    pointer = operation_of(document, answer)
    assert pointer is not None
    known = parameters(document, pointer)
    for name, _ in parse_qsl(answer.query, keep_blank_values=True):
        if ("query", name) not in known:
            yield f"the parameter {name} is not documented"


def used_parts(document: Document, answer: Answer) -> Iterator[str]:
    """Yield the parts of the document that a request and its response use."""
    where, schema = schema_of(document, answer)
    yield where
    if schema is not None:
        yield from document.parts(schema, body_of(answer))
    pointer = operation_of(document, answer)
    assert pointer is not None
    yield f"{pointer}/responses/{documented_status(document, pointer, answer)}"
    known = parameters(document, pointer)
    for name, _ in parse_qsl(answer.query, keep_blank_values=True):
        yield known["query", name]


def documented(document: Document) -> Iterator[str]:
    """Yield all documented parameters, responses and parts of schemas."""
    for _, _, pointer in operations(document):
        for (kind, _), where in parameters(document, pointer).items():
            if kind == "query":
                yield where
        for status in document.at(f"{pointer}/responses"):
            yield from parts_of_response(document, pointer, status)


def parts_of_response(document: Document, pointer: str, status: str) -> Iterator[str]:
    """Yield a documented response of an operation, and the parts of its schemas."""
    named = f"{pointer}/responses/{status}"
    yield named
    response, where = document.follow(document.at(named), named)
    yield where
    for type_ in response.get("content", ()):
        escaped = type_.replace("/", "~1")
        yield from document.parts(f"{where}/content/{escaped}/schema")
