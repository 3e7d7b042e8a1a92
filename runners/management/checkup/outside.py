"""The checks from outside: the access of visitors and phones by PUBLIC_URL.

They run on this machine with its name server and network. To include the firewall, run
the command on a different machine with the same settings.
"""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPMessage
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from runners.management.checkup.problem import Problem
from runners.models import Runner, RunnerToken, ShareLink
from runners.views.assets import map_assets

LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}
# How long a response may take.
PATIENCE_S = 10.0
# Certificates are renewed a month before their end; this late, renewal has failed.
FEW_DAYS = 14
# The greatest difference of two clocks.
CLOCKS_APART_MS = 2_000
# How long the runner created by the check is visible at most.
PROBE_LIFE = timedelta(minutes=5)
# Limit of the response that is read. The largest is a map style.
BODY_LIMIT_BYTES = 10_000_000
UPGRADE = (
    "Configure the proxy to pass on `Upgrade` and `Connection`, which "
    "websockets need (docs/deploying.md)."
)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: HTTPMessage
    body: str


def check_address() -> Iterator[str | Problem]:
    """Check that PUBLIC_URL leads to this server, and that phones can reach it."""
    host = urlsplit(settings.PUBLIC_URL).hostname
    if host in LOCAL_HOSTS:
        yield Problem(
            f"Phones cannot reach PUBLIC_URL={settings.PUBLIC_URL}: it is a "
            "local address.",
            "Set it to the address that visitors type, and run this with the "
            "server's settings.",
        )
    answer = request_page("/healthz")
    check_redirect("/healthz", answer)
    if answer.status == 400:
        raise Problem(
            f"The server refuses the name {host}.",
            "Configure the proxy to pass `Host` unchanged, and leave "
            "ALLOWED_HOSTS unset.",
        )
    if answer.status in {502, 503, 504}:
        raise Problem(
            f"The proxy at {settings.PUBLIC_URL} does not reach the server "
            f"({answer.status}).",
            f"Is `manage.py serve` running, and does the proxy send to port "
            f"{settings.PORT}?",
        )
    if (answer.status, answer.body) != (200, "ok\n"):
        raise Problem(
            f"What answers at {settings.PUBLIC_URL} is not Spectate ({answer.status}).",
            "Is PUBLIC_URL right, and does the proxy pass on all requests?",
        )
    ready = request_page("/readyz")
    if ready.status != 200:
        raise Problem(
            f"The server accepts no clients: {ready.body.strip()}.",
            "See its log, and Overload in docs/deploying.md.",
        )
    # The server redirects every page except these two.
    check_redirect("/sign-in/", request_page("/sign-in/"))
    yield f"{settings.PUBLIC_URL} answers"


def check_redirect(path: str, answer: Answer) -> None:
    """Raise `Problem` if a page redirects elsewhere or in a circle."""
    if answer.status not in {301, 302, 307, 308}:
        return
    target = answer.headers.get("Location", "")
    if target == settings.PUBLIC_URL + path:
        raise Problem(
            f"{target} redirects to itself.",
            "Configure the proxy to set `X-Forwarded-Proto` to https.",
        )
    raise Problem(
        f"{settings.PUBLIC_URL} redirects to {target}, which phones do not follow.",
        "Set PUBLIC_URL to that address.",
    )


def check_certificate() -> Iterator[str | Problem]:
    """Check that browsers and phones accept the certificate, for some more days."""
    url = urlsplit(settings.PUBLIC_URL)
    if url.scheme != "https":
        yield "none: PUBLIC_URL is plain HTTP"
        return
    host = url.hostname or ""
    renew = "Renew it (`certbot renew`) and reload the proxy."
    try:
        until = end_of_certificate(host, url.port or 443)
    except ssl.SSLCertVerificationError as error:
        raise Problem(
            f"The certificate of {host} is refused: {error.verify_message}.", renew
        ) from error
    except OSError as error:
        raise away(error) from error
    days_left = (until - timezone.now()).days
    if days_left < FEW_DAYS:
        yield Problem(
            f"The certificate of {host} ends on {until:%Y-%m-%d}, in {days_left} days.",
            renew,
        )
    else:
        yield f"{host} until {until:%Y-%m-%d} ({days_left} days)"


def end_of_certificate(host: str, port: int) -> datetime:
    context = ssl.create_default_context()
    with (
        socket.create_connection((host, port), PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        certificate = tls.getpeercert() or {}
    seconds = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return datetime.fromtimestamp(seconds, UTC)


def check_browsers() -> Iterator[str | Problem]:
    """Check that browsers get the map library and the chosen style."""
    assets = map_assets()
    if assets is not None:
        answer = request_page(assets["library"])
        kind = answer.headers.get("Content-Type", "no type")
        if answer.status != 200 or "javascript" not in kind:
            yield Problem(
                f"The map library is not served ({answer.status}, {kind}).",
                "Run `manage.py collectstatic --no-input` and reload the server.",
            )
        else:
            yield "the map library is served"
    if settings.SPECTATE_MAP_STYLE:
        yield check_style(settings.SPECTATE_MAP_STYLE)


def check_style(url: str) -> str | Problem:
    remedy = (
        "Open it in a browser; without SPECTATE_MAP_STYLE the map shows outlines of "
        "land."
    )
    try:
        answer = fetch(url)
        # The only version of the format.
        is_style = answer.status == 200 and json.loads(answer.body)["version"] == 8
    except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
        return Problem(f"The map style {url} cannot be read: {error!r}.", remedy)
    if not is_style:
        return Problem(f"{url} is not a map style ({answer.status}).", remedy)
    return f"{url} is a map style"


def check_phones() -> Iterator[str | Problem]:
    """Send a position as a phone does, and receive it as a spectator does.

    Uses a temporary private runner, which is deleted at the end.
    """
    with probe() as (token, share), spectator() as watcher:
        apart = receive_type(watcher, "welcome")["time"] - now_ms()
        if abs(apart) > CLOCKS_APART_MS:
            yield Problem(
                f"The server's clock is {apart / 1000:+.1f} s from this machine's.",
                "Synchronize both with the network: apt-get install chrony.",
            )
        watcher.send(json.dumps({"type": "follow", "share": share, "tick": 0}))
        receive_type(watcher, "snapshot")
        sent = time.perf_counter()
        answer = request_page(
            "/intake/generic/",
            json.dumps({"lat": 51.47783, "lon": -0.00148, "timestamp": now_ms()}),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        if answer.status == 401:
            raise Problem(
                "The token that a phone sends did not arrive.",
                "Configure the proxy to pass on `Authorization`.",
            )
        if answer.status != 200 or '"stored":1,' not in answer.body.replace(" ", ""):
            raise Problem(
                f"A phone's position was not accepted ({answer.status}): "
                f"{answer.body.strip()[:200]}.",
                "Does the proxy pass on POST requests to /intake/?",
            )
        while not receive_type(watcher, "positions")["fixes"]:
            pass  # A heartbeat without a position.
        took = time.perf_counter() - sent
    yield f"a position sent by HTTP reached a spectator in {took * 1000:.0f} ms"


@contextmanager
def probe() -> Iterator[tuple[str, str]]:
    """Create a private runner; return a token for the phone and one of a link."""
    until = timezone.now() + PROBE_LIFE
    runner = Runner.objects.create(
        code=f"doctor-{secrets.token_hex(8)}",
        name="manage.py doctor",
        visibility=Runner.Visibility.PRIVATE,
    )
    _, token = RunnerToken.objects.issue(runner, name="doctor")
    link, share = ShareLink.objects.issue(
        label="doctor", expires_at=until, runners=[runner]
    )
    try:
        yield token, share
    finally:
        link.delete()
        runner.delete()


@contextmanager
def spectator() -> Iterator[ClientConnection]:
    """Open a websocket at PUBLIC_URL, as the live map does."""
    url = f"{settings.PUBLIC_URL.replace('http', 'ws', 1)}/ws/"
    try:
        with connect(
            url,
            subprotocols=[Subprotocol("spectate.v1")],
            open_timeout=PATIENCE_S,
            proxy=None,
        ) as socket:
            yield socket
    except (InvalidHandshake, InvalidMessage) as error:
        raise Problem(f"{url} opens no websocket: {error}.", UPGRADE) from error
    except (ConnectionClosed, OSError) as error:
        raise Problem(f"The websocket {url} was closed: {error}.", UPGRADE) from error


def receive_type(watcher: ClientConnection, kind: str) -> dict[str, Any]:
    """Return the next message of a type from a socket."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            message = json.loads(watcher.recv(max(0, deadline - time.monotonic())))
        except TimeoutError:
            raise Problem(
                f"A spectator got no `{kind}` within {PATIENCE_S:.0f} s.",
                "Is REDIS_URL the same in every process? See the server's log.",
            ) from None
        if message["type"] == "error":
            raise Problem(
                f"A spectator was refused: {message['detail']} ({message['code']})",
                "Is this DATABASE_URL the server's?",
            )
        if message["type"] == kind:
            return dict(message)


def request_page(
    path: str, body: str | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Request a page of PUBLIC_URL. Raises `Problem` if there is no response."""
    try:
        return fetch(settings.PUBLIC_URL + path, body, headers)
    except (OSError, http.client.HTTPException) as error:
        raise away(error) from error


def away(error: Exception) -> Problem:
    if isinstance(error, socket.gaierror):
        return Problem(
            f"{urlsplit(settings.PUBLIC_URL).hostname} has no address "
            f"({error.strerror}).",
            "Add an A record at the provider of the name, or correct PUBLIC_URL.",
        )
    return Problem(
        f"Nothing answers at {settings.PUBLIC_URL}: {error}.",
        "Are the server and the proxy running, and is the port open?",
    )


def fetch(
    url: str, body: str | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Make one request, a POST if it has a body, without following redirects."""
    parts = urlsplit(url)
    kind = (
        http.client.HTTPSConnection
        if parts.scheme == "https"
        else http.client.HTTPConnection
    )
    with closing(kind(parts.netloc, timeout=PATIENCE_S)) as connection:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        method = "GET" if body is None else "POST"
        connection.request(method, target or "/", body, dict(headers or {}))
        answer = connection.getresponse()
        text = answer.read(BODY_LIMIT_BYTES).decode(errors="replace")
        return Answer(answer.status, answer.headers, text)


def now_ms() -> int:
    return time.time_ns() // 1_000_000
