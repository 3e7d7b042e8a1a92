"""Posts to push endpoints of browsers, and guards against all other addresses.

Endpoints come from strangers. So only public addresses are contacted, over TLS, and
redirects are not followed. A name is resolved once, and the connection goes to the
checked address, so that a name server cannot change it in between.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple
from urllib.parse import urlsplit

from django.conf import settings

from runners.notifying.names import names

# Limit of the characters of an endpoint. The longest in use have about 600.
LONGEST = 2_000
# The time-out of name resolution, connection and response together.
TIMEOUT_S = 8.0
# Limit of the Retry-After that is applied.
LONGEST_WAIT_S = 86_400.0
# Limit of the head of a response. The rest is not read.
HEAD_LIMIT_BYTES = 16 * 1024
HTTPS = 443
# IPv6 addresses that contain an IPv4 address: the number of bits before it.
EMBEDDING = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 96),
    (ipaddress.IPv6Network("64:ff9b::/96"), 96),
    (ipaddress.IPv6Network("2002::/16"), 16),
)
# Networks that older versions of Python treat as public: IETF protocol assignments,
# and the site-local addresses that private ones replaced.
NOT_PUBLIC = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("fec0::/10"))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class EndpointRefused(Exception):
    """An endpoint to which nothing is posted; the message gives the reason."""


class Endpoint(NamedTuple):
    """The parts of an endpoint; `target` is the path with the query."""

    host: str
    port: int
    target: str
    secure: bool


class Answer(NamedTuple):
    """A status, and the seconds until the service may be contacted again."""

    status: int
    retry_after: float


def read_endpoint(url: str) -> Endpoint:
    """Parse an endpoint; raises `EndpointRefused`.

    Does not resolve its name: whether the address is public is checked at use.
    """
    if len(url) > LONGEST or not url.isascii() or not url.isprintable() or " " in url:
        raise EndpointRefused("The endpoint is not an address of a push service.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise EndpointRefused("The endpoint is not a URL.") from None
    secure = parts.scheme == "https"
    host = parts.hostname
    if host is None or "@" in parts.netloc:
        raise EndpointRefused("The endpoint names no host, or a user.")
    if not settings.SPECTATE_PUSH_LOCAL:
        if not secure or (port or HTTPS) != HTTPS:
            raise EndpointRefused("The endpoint is not https on its usual port.")
        if (address := _literal(host)) is not None and not is_public(address):
            raise EndpointRefused("The endpoint is at a private address.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(host, port or (HTTPS if secure else 80), target, secure)


def is_public(address: Address) -> bool:
    """Return whether an address is public and belongs to a single host."""
    if isinstance(address, ipaddress.IPv6Address):
        for network, before in EMBEDDING:
            if address in network:
                embedded = int(address) >> (128 - before - 32) & 0xFFFFFFFF
                return is_public(ipaddress.IPv4Address(embedded))
    if any(address in network for network in NOT_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


async def post(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Post to an endpoint and return its response.

    Raises `EndpointRefused`, `OSError` and `TimeoutError`.
    """
    endpoint = read_endpoint(url)
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    default = HTTPS if endpoint.secure else 80
    where = host if endpoint.port == default else f"{host}:{endpoint.port}"
    lines = [
        f"POST {endpoint.target} HTTP/1.1",
        f"Host: {where}",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
    async with asyncio.timeout(TIMEOUT_S):
        address = await address_of(endpoint)
        reader, writer = await asyncio.open_connection(
            address,
            endpoint.port,
            limit=HEAD_LIMIT_BYTES,
            ssl=_tls() if endpoint.secure else None,
            server_hostname=endpoint.host if endpoint.secure else None,
        )
        try:
            writer.write(head + body)
            await writer.drain()
            return _read_head(await reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ConnectionError(f"no answer: {error}") from error
        finally:
            writer.transport.abort()


async def address_of(endpoint: Endpoint) -> str:
    """Resolve a host; raises `EndpointRefused` if any of its addresses is private."""
    try:
        addresses = await names.resolve(endpoint.host)
    except UnicodeError:
        raise EndpointRefused("The endpoint's host is not a name.") from None
    if not settings.SPECTATE_PUSH_LOCAL:
        for address in addresses:
            literal = _literal(address)
            if literal is None or not is_public(literal):
                raise EndpointRefused("The endpoint's name leads to a private address.")
    return addresses[0]


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _read_head(head: bytes) -> Answer:
    first, *lines = head.decode("latin-1").split("\r\n")
    try:
        status = int(first.split(" ", 2)[1])
    except (IndexError, ValueError):
        raise ConnectionError("no HTTP in the answer") from None
    retry_after = 0.0
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "retry-after" and value.strip().isdecimal():
            retry_after = min(float(value), LONGEST_WAIT_S)
    return Answer(status, retry_after)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
