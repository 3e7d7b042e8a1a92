"""Reads the headers of a websocket handshake: origin, credentials, subprotocols."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.http.request import validate_host

Scope = dict[str, Any]

DEFAULT_PORTS = {"http": 80, "https": 443}


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header with a name (lower case), or None."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def address(scope: Scope) -> str:
    """Return the client's address; empty if it has none, as on a Unix socket."""
    client = scope.get("client")
    return client[0] if client else ""


def is_native(scope: Scope) -> bool:
    """Return whether the client is not a browser page: it sends no Origin."""
    return header(scope, b"origin") is None


def origin_allowed(scope: Scope) -> bool:
    """Return whether a page of this server, or no page, opens the socket.

    Its origin must have the Host header's host and port, or a host in ALLOWED_HOSTS and
    the port of PUBLIC_URL, because other programs on this host are not trusted. The
    wildcard does not count, since it would let any page use a visitor's session. With
    https, pages over plain HTTP do not count, because anybody on the network can modify
    them.
    """
    origin = header(scope, b"origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or (settings.SECURE_SSL_REDIRECT and parts.scheme != "https"):
        return False
    if parts.netloc == header(scope, b"host"):
        return True
    port = port or DEFAULT_PORTS.get(parts.scheme)
    if f"{host}:{port}" == header(scope, b"host"):
        return True
    public = urlsplit(settings.PUBLIC_URL)
    if port != (public.port or DEFAULT_PORTS[public.scheme]):
        return False
    return validate_host(host, [h for h in settings.ALLOWED_HOSTS if h != "*"])


def dialect_of(offered: Sequence[str], known: Sequence[str]) -> str | None:
    """Return the first offered subprotocol that is known."""
    return next((name for name in offered if name in known), None)


def refusal(scope: Scope, dialect: str | None, known: Sequence[str]) -> str | None:
    """Return why a handshake is refused, or None; `dialect` is the one selected."""
    if not origin_allowed(scope):
        # ASCII, and short: a client chooses it.
        origin = ascii(header(scope, b"origin"))[:100]
        return f"Pages of the origin {origin} may not open sockets here."
    offered = scope.get("subprotocols")
    if offered and dialect is None:
        return (
            f"None of the subprotocols {ascii(offered)[:100]} is known: offer "
            f"{' or '.join(known)}, or none for the dialect of 2015."
        )
    return None


def handshake_token(scope: Scope) -> str | None:
    """Return the token of a handshake: from its headers or its query string."""
    authorization = header(scope, b"authorization")
    if authorization is not None:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return value.strip()
        if scheme.lower() == "basic":
            try:
                return base64.b64decode(value).decode().partition(":")[2]
            except ValueError:
                return ""
    if not (query := scope.get("query_string", b"")):
        return None
    tokens = parse_qs(query.decode("latin-1")).get("token")
    return tokens[0] if tokens else None


def session_of(scope: Scope) -> str | None:
    """Return the session key of a browser's handshake."""
    if is_native(scope):
        return None
    try:
        cookies = SimpleCookie(header(scope, b"cookie") or "")
    except CookieError:
        return None
    morsel = cookies.get(settings.SESSION_COOKIE_NAME)
    return morsel.value if morsel is not None else None
