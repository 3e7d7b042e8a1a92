"""Spectate behind a real nginx with the files of deploy/nginx/."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.clients import typed_client
from tests.factories.people import make_phone
from tests.servers import Server, free_port
from tests.services import Nginx
from tests.waiting import PATIENCE_S

SECRET = "aSecretThatNoLogMayQuote" + 20 * "x"


class Front(NamedTuple):
    server: Server
    nginx: Nginx
    token: str

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Any = None
    ) -> http.client.HTTPResponse:
        """Send a request through TLS and read the response to its end."""
        connection = http.client.HTTPSConnection(
            *("127.0.0.1", self.nginx.port), timeout=PATIENCE_S, context=trusting()
        )
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    port = free_port()
    with Nginx(port) as nginx:
        public = f"https://127.0.0.1:{nginx.port}"
        with Server(
            PORT=str(port),
            PUBLIC_URL=public,
            ALLOWED_HOSTS="127.0.0.1",
            TRUSTED_PROXIES="127.0.0.1",
            SPECTATE_OPEN="",
        ) as server:
            yield Front(server, nginx, server.database(make_phone, "bob"))


def test_nginx_passes_pages_sockets_and_positions(front: Front) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", front.nginx.plain_port)
    plain.request("GET", "/races/?q=a")
    moved = plain.getresponse()
    assert moved.status == 308
    assert moved.headers["Location"] == "https://127.0.0.1/races/?q=a"
    plain.close()

    page = front.request("GET", "/races/")
    assert page.status == 200
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" in page.headers
    assert page.headers["Server"] == "nginx"
    # From an address that Prometheus may have.
    assert front.request("GET", "/metrics").status == 200
    # More than nginx takes.
    assert front.request("POST", "/intake/overland/x", 9 * 2**20 * b" ").status == 413
    asyncio.run(publish_and_follow(front))


async def publish_and_follow(front: Front) -> None:
    url = f"wss://127.0.0.1:{front.nginx.port}/ws/"
    origin = f"https://127.0.0.1:{front.nginx.port}"
    async with typed_client(url, ssl=trusting(), origin=origin) as client:
        await client.send(type="follow", id="f", runners=["bob"])
        await client.receive_type("snapshot")
        path = f"/intake/generic/{front.token}?lat=48&lon=2"
        assert (await asyncio.to_thread(front.request, "POST", path)).status == 200
        await client.receive_type("positions")


def test_nginx_logs_no_secret(front: Front) -> None:
    paths = [
        *(f"/s/{SECRET}/", f"/stop/{SECRET}/", f"/invitations/{SECRET}/"),
        *(f"/intake/overland/{SECRET}", f"/notifications/stop/{SECRET}/"),
        *(f"/account/password/reset/key/{SECRET}/", f"/live.json?token={SECRET}"),
    ]
    headers = {"Referer": f"https://x/s/{SECRET}/", "Authorization": SECRET}
    front.server.stop()
    for path in paths:
        # The upstream is gone: nginx logs an error, which quotes the request.
        assert front.request("GET", path, headers=headers).status == 502
    front.server.start()
    for path in paths:
        assert front.request("GET", path, headers=headers).status < 500
    logs = front.nginx.logs
    assert SECRET not in logs
    assert front.token not in logs
    assert '"GET /s/-" 502' in logs and '"GET /intake/overland/-" 502' in logs
    assert front.token not in front.server.log and SECRET not in front.server.log
