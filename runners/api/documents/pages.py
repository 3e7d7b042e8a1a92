"""The pages of the documents, and the documents themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import orjson
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_safe

from runners.api.documents.content import DOCUMENTS, Content, http, websocket
from runners.api.documents.sections import Reader
from runners.views.policy import read_only


@require_safe
def documents(request: HttpRequest) -> HttpResponse:
    """Show which interfaces there are."""
    found = []
    for name, (read, _) in DOCUMENTS.items():
        info = read()["info"]
        found.append((name, info["title"], Reader(read()).marked(info["description"])))
    return render(request, "runners/documents.html", {"documents": found})


@require_safe
def document(request: HttpRequest, name: str) -> HttpResponse:
    """Show one of the documents."""
    if name not in DOCUMENTS:
        raise Http404
    title = DOCUMENTS[name][0]()["info"]["title"]
    found = {"title": title, "content": _html(name)}
    return render(request, "runners/document.html", found)


@read_only
def openapi_json(request: HttpRequest) -> HttpResponse:
    return _json(http)


@read_only
def asyncapi_json(request: HttpRequest) -> HttpResponse:
    return _json(websocket)


@cache
def _html(name: str) -> str:
    # Rendered once: it takes a tenth of a second, and is the same for everybody.
    read, address = DOCUMENTS[name]
    content = read()
    reader = Reader(content)
    info = content["info"]
    found = {
        "address": reverse(address),
        "info": info,
        "text": reader.marked(info["description"]),
        "chapters": list(reader.chapters()),
    }
    return render_to_string("runners/_document.html", found)


def _json(read: Callable[[], Content]) -> HttpResponse:
    return HttpResponse(orjson.dumps(read()), content_type="application/json")
