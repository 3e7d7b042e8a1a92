"""The documents: two files of docs/, and what the organisers' API says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import yaml
from django.conf import settings

from runners.api.v1 import api

Content = Mapping[str, Any]


@cache
def http() -> Content:
    """Return the document of the endpoints for phones and spectators."""
    return _from_file("openapi") | {"servers": [{"url": settings.PUBLIC_URL}]}


@cache
def websocket() -> Content:
    """Return the document of the websocket."""
    content = _from_file("asyncapi")
    address = urlsplit(settings.PUBLIC_URL)
    protocol = "wss" if address.scheme == "https" else "ws"
    content["servers"]["here"] |= {"host": address.netloc, "protocol": protocol}
    return content


@cache
def organisers() -> Content:
    """Return the document of /api/v1/."""
    return api.get_openapi_schema()


# By the names of their pages, in the order of the overview: the function that reads
# one, and the name of its address.
DOCUMENTS: dict[str, tuple[Callable[[], Content], str]] = {
    "organisers": (organisers, "api-1:openapi-json"),
    "http": (http, "openapi_json"),
    "websocket": (websocket, "asyncapi_json"),
}


def _from_file(name: str) -> dict[str, Any]:
    text = (settings.BASE_DIR / "docs" / f"{name}.yaml").read_text()
    content: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return content
