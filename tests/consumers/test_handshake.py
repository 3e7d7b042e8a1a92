from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from runners.consumers.handshake import handshake_token, origin_allowed, session_of
from tests.clients import seed_client
from tests.servers import Server


def scope(query: bytes = b"", /, **headers: str) -> dict[str, Any]:
    return {
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in headers.items()],
        "query_string": query,
    }


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("spectate.example", None, True),
        ("spectate.example", "https://spectate.example", True),
        ("spectate.example:8080", "http://spectate.example:8080", True),
        ("spectate.example:443", "https://spectate.example", True),
        ("spectate.example", "https://app.example", True),
        ("spectate.example", "https://app.example:8443", False),
        ("spectate.example:8443", "https://app.example:8443", False),
        ("spectate.example", "https://elsewhere.example", False),
        ("spectate.example:8080", "http://spectate.example:9090", False),
        ("spectate.example", "null", False),
        ("spectate.example", "", False),
        ("spectate.example", "file://", False),
        ("spectate.example", "https://[", False),
        ("spectate.example", "https://spectate.example.evil.example", False),
    ],
)
def test_only_own_pages_and_allowed_hosts_may_open_sockets(
    host: str, origin: str | None, allowed: bool
) -> None:
    headers: dict[str, str] = {"host": host}
    if origin is not None:
        headers["origin"] = origin
    with override_settings(
        ALLOWED_HOSTS=["app.example"], PUBLIC_URL="https://spectate.example"
    ):
        assert origin_allowed(scope(**headers)) is allowed


@pytest.mark.parametrize("origin", ["spectate.example", "app.example"])
def test_a_page_by_plain_http_opens_no_socket_of_an_https_server(origin: str) -> None:
    with override_settings(
        ALLOWED_HOSTS=["app.example"],
        PUBLIC_URL="https://spectate.example",
        SECURE_SSL_REDIRECT=True,
    ):
        for scheme, allowed in (("http", False), ("https", True)):
            page = scope(host="spectate.example", origin=f"{scheme}://{origin}")
            assert origin_allowed(page) is allowed


def test_the_wildcard_of_allowed_hosts_allows_no_other_origin() -> None:
    with override_settings(ALLOWED_HOSTS=["*"]):
        assert not origin_allowed(scope(host="a.example", origin="https://b.example"))
        assert origin_allowed(scope(host="a.example", origin="https://a.example"))


@pytest.mark.parametrize(
    ("given", "token"),
    [
        (scope(), None),
        (scope(authorization="Bearer abc"), "abc"),
        (scope(authorization="bearer abc"), "abc"),
        (scope(authorization="Basic eDphYmM="), "abc"),
        (scope(authorization="Basic !!!"), ""),
        (scope(authorization="Basic \xe9"), ""),
        (scope(authorization="Digest abc"), None),
        (scope(b"token=abc&x=1"), "abc"),
        (scope(b"token=abc", authorization="Bearer def"), "def"),
    ],
)
def test_a_token_is_read_from_each_allowed_place(given: Any, token: str | None) -> None:
    assert handshake_token(given) == token


def test_a_request_without_an_origin_has_no_session() -> None:
    assert session_of(scope(cookie="sessionid=abc")) is None
    assert (
        session_of(scope(cookie="sessionid=abc", origin="https://a.example")) == "abc"
    )
    assert session_of(scope(origin="https://a.example")) is None


@pytest.mark.parametrize(
    ("origin", "opens"),
    [(None, True), ("own", True), ("https://evil.example", False), ("null", False)],
)
async def test_origin_is_checked_before_accept(
    server: Server, origin: str | None, opens: bool
) -> None:
    headers = {} if origin is None else {"Origin": origin.replace("own", server.url)}
    try:
        async with seed_client(server.ws_url, additional_headers=headers):
            opened = True
    except InvalidStatus as refusal:
        assert refusal.response.status_code == 403
        assert_reason(server, refusal, f"Pages of the origin '{origin}' may not open ")
        opened = False
    assert opened is opens


def assert_reason(server: Server, refusal: InvalidStatus, reason: str) -> None:
    """The body and the log say why; Daphne has a body of its own."""
    assert f"A websocket was refused: {reason}" in server.log
    assert "without completing handshake" not in server.log
    if server.kind == "uvicorn":
        assert refusal.response.body.startswith(reason.encode())


@pytest.mark.parametrize(
    ("path", "offered", "reason"),
    [
        (
            "/",
            ["mqtt"],
            "None of the subprotocols ['mqtt'] is known: offer spectate.v1",
        ),
        ("/elsewhere/", [], "Websockets are at / and /ws/."),
    ],
)
async def test_a_refused_handshake_says_why(
    server: Server, path: str, offered: list[Any], reason: str
) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(server.ws_url + path, subprotocols=offered or None)
    assert_reason(server, refusal.value, reason)
