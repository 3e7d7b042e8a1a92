"""Addresses that the server never posts to, whatever endpoint a browser sends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from pytest_django import Settings

from runners.notifying import endpoints
from runners.notifying.endpoints import EndpointRefused, post, read_endpoint
from runners.notifying.names import Names
from tests.notifying.push import PushService
from tests.waiting import within

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fec0::1]",
    "192.0.0.8",
    "[::ffff:192.0.0.8]",
    "[fd00::1]",
    "[ff02::1]",
    "[::ffff:127.0.0.1]",
    "[64:ff9b::a01:203]",
    "[2002:7f00:1::]",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_refused(host: str) -> None:
    with pytest.raises(EndpointRefused, match="private"):
        read_endpoint(f"https://{host}/push")


@pytest.mark.parametrize(
    "url",
    [
        "http://push.example.org/1",
        "https://push.example.org:8443/1",
        "https://user:word@push.example.org/1",
        "https:///1",
        "https://push.example.org/\r\nHost: other",
        "https://push.example.org/a b",
        "https://[::1/1",
        "https://push.example.org:x/1",
        "ftp://push.example.org/1",
        f"https://push.example.org/{'x' * 2000}",
        "",
    ],
)
def test_an_invalid_push_endpoint_is_refused(url: str) -> None:
    with pytest.raises(EndpointRefused):
        read_endpoint(url)


@pytest.mark.parametrize(
    "host", ["93.184.215.14", "[2606:4700::1111]", "fcm.example.org"]
)
def test_a_public_address_is_accepted(host: str) -> None:
    assert read_endpoint(f"https://{host}/push?x=1").target == "/push?x=1"


@pytest.fixture(autouse=True)
def new_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test resolve names anew."""
    monkeypatch.setattr(endpoints, "names", Names())


async def test_a_name_that_resolves_to_a_private_address_is_not_connected_to(
    service: PushService, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SPECTATE_PUSH_LOCAL = False
    connected: list[Any] = []
    monkeypatch.setattr(
        asyncio, "open_connection", lambda *args, **more: connected.append(args)
    )
    # The reply of a name server with a public address before the private one.
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
        for address in ("93.184.215.14", "127.0.0.1")
    ]

    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: found)
    with pytest.raises(EndpointRefused, match="private"):
        await post("https://push.example.org/1", {}, b"x")
    assert connected == []


async def test_the_connection_uses_the_checked_address(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SPECTATE_PUSH_LOCAL = False
    connected: list[Any] = []

    async def open_connection(*args: Any, **more: Any) -> Any:
        connected.append((*args, more["server_hostname"]))
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: found)
    with pytest.raises(ConnectionRefusedError):
        await post("https://push.example.org/1", {}, b"x")
    assert connected == [("93.184.215.14", 443, "push.example.org")]


async def test_a_service_that_sends_too_slowly_is_given_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SPECTATE_PUSH_LOCAL = True
    monkeypatch.setattr(endpoints, "TIMEOUT_S", 0.3)

    closed = asyncio.Event()

    async def send_slowly(reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 201 Created\r\n")
        while not writer.is_closing():
            writer.write(b"X")
            await asyncio.sleep(0.05)
        # Otherwise a later test finds the open transport.
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        closed.set()

    async with await asyncio.start_server(send_slowly, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimeoutError):
            await post(f"http://127.0.0.1:{port}/", {}, b"x")
        await within(closed.wait())
