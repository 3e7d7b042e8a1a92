"""Websocket handshakes that the HTTP protocol has parsed."""

from __future__ import annotations

import re
from urllib.parse import unquote

from uvicorn._types import WebSocketScope
from uvicorn.protocols.websockets.websockets_sansio_impl import (
    WebSocketsSansIOProtocol,
)
from websockets.utils import accept_key

# 16 bytes in Base64.
KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
SUBPROTOCOL = re.compile(rb"[\w.-]+")

Headers = list[tuple[bytes, bytes]]


def usual_key(method: str, url: bytes, headers: Headers) -> bytes | None:
    """Return the key of a valid handshake (RFC 6455, 4.2.1).

    None for all others, for several subprotocols, and if a header is repeated: these
    are left to websockets.
    """
    found = dict(headers)
    key = found.get(b"sec-websocket-key", b"")
    valid = (
        method == "GET"
        and url.isascii()
        and len(found) == len(headers)
        and found.get(b"sec-websocket-version") == b"13"
        and KEY.fullmatch(key)
        and SUBPROTOCOL.fullmatch(found.get(b"sec-websocket-protocol", b"none"))
    )
    return key if valid else None


def scope_of(
    protocol: WebSocketsSansIOProtocol, url: bytes, headers: Headers
) -> WebSocketScope:
    """Return the scope of a handshake, as uvicorn's protocol would."""
    raw_path, _, query = url.partition(b"?")
    offered = dict(headers).get(b"sec-websocket-protocol")
    return {
        "type": "websocket",
        "asgi": {"version": protocol.asgi_version, "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": protocol.scheme,
        "server": protocol.server,
        "client": protocol.client,
        "root_path": protocol.root_path,
        "path": protocol.root_path + unquote(raw_path.decode()),
        "raw_path": protocol.root_path.encode() + raw_path,
        "query_string": query,
        "headers": headers,
        "subprotocols": [] if offered is None else [offered.decode()],
        "state": protocol.app_state.copy(),
        "extensions": {"websocket.http.response": {}},
    }


def switching_protocols(key: bytes, headers: Headers) -> bytes:
    """Return the response that accepts a handshake."""
    accepted = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", accept_key(key.decode()).encode()),
        *headers,
    ]
    lines = b"".join(b"%b: %b\r\n" % header for header in accepted)
    return b"HTTP/1.1 101 Switching Protocols\r\n%b\r\n" % lines
