"""The HTTP endpoint of all apps: /intake/APP/[TOKEN/].

It is an ASGI application besides Django's views, which saves a position the cost of
sessions, CSRF and a change of thread (bench/README.md has both figures).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from django.conf import settings

from runners.intake.app import App, Reading, Reply, Report, fields_of
from runners.intake.delivery import (
    TryLater,
    deliver,
    find_bearer,
    record_ended,
    refuse_overload,
)
from runners.intake.generic import GENERIC
from runners.intake.gpslogger import GPSLOGGER
from runners.intake.osmand import OSMAND
from runners.intake.overland import OVERLAND
from runners.intake.owntracks import OWNTRACKS
from runners.intake.profile import PROFILE_FILE, gpslogger_profile
from runners.intake.traccar import TRACCAR
from runners.positions.validation import FixError
from runners.quotas import network_of
from runners.serving.bodies import UPLOAD_LIMIT_BYTES, BodyRefused
from runners.serving.process import Process, current
from runners.units.clock import now_ms

logger = logging.getLogger(__name__)

APPS = {
    "owntracks": OWNTRACKS,
    "overland": OVERLAND,
    "osmand": OSMAND,
    "gpslogger": GPSLOGGER,
    "generic": GENERIC,
    "traccar": TRACCAR,
}
PREFIX = "/intake/"
# Bodies that are parsed in the event loop, which takes some milliseconds.
LOOP_LIMIT_BYTES = 64 * 1024

T = TypeVar("T")
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Gone(Exception):
    """The phone disconnected before its request was complete."""


async def intake(scope: Scope, receive: Receive, send: Send) -> None:
    """Handle one request of a phone."""
    name, path_token, rest = split_path(scope["path"])
    app = APPS.get(name)
    after: float | None = None
    try:
        if app is None or (rest and (name, rest) != ("gpslogger", PROFILE_FILE)):
            known = ", ".join(APPS)
            reply = Reply(404, f"There is {PREFIX}APP/TOKEN/ for {known}.\n".encode())
        elif settings.SECURE_SSL_REDIRECT and not _is_secure(scope):
            # A redirect would come too late to protect the token, and apps lose the
            # body.
            reply = app.error(403, "https", f"Use {settings.PUBLIC_URL}{PREFIX}{name}/")
        elif rest:
            reply = gpslogger_profile(path_token)
        elif scope["method"] not in app.methods:
            reply = app.error(405, "method", f"Use {' or '.join(sorted(app.methods))}.")
        else:
            reply = await _serve(name, app, path_token, scope, receive)
    except TryLater as error:
        assert app is not None
        after = error.after
        reply = app.error(error.status, error.code, error.detail)
    except Gone:
        return
    except BodyRefused:
        raise
    except Exception:
        logger.exception("A phone's report could not be handled")
        reply = Reply(500, b"Something failed here. Nothing was stored.\n")
    await _answer(reply, scope, send, app, after)


async def _serve(
    name: str, app: App, path_token: str, scope: Scope, receive: Receive
) -> Reply:
    process = current()
    refuse_overload(process)
    headers = _headers(scope)
    query = fields_of(scope.get("query_string", b"").decode("latin-1"))
    token = request_token(headers, path_token, query)
    bearer = None if token is None else await find_bearer(process, token)
    # The body is not read before the right to publish is known, unless the token may be
    # in it.
    if bearer is None and (token or app.token_of_body is None):
        return await _refuse_wrong(process, app, scope, token)
    body, problem = await read_body(receive, headers.get(b"content-encoding", ""))
    report = Report(
        method=scope["method"],
        query=query,
        content_type=headers.get(b"content-type", ""),
        user_agent=headers.get(b"user-agent", ""),
        body=body,
        now=now_ms(),
    )
    if bearer is None and app.token_of_body is not None:
        token = await parse(app.token_of_body, report)
        bearer = await find_bearer(process, token) if token else None
    if bearer is None:
        return await _refuse_wrong(process, app, scope, token)
    if not bearer.usable:
        record_ended(process, bearer)
        return _refuse(app)

    async def read() -> Reading:
        if problem is not None:
            raise problem
        return await parse(app.read, report)

    return app.ok(await deliver(process, name, bearer, read))


async def parse(parser: Callable[[Report], T], report: Report) -> T:
    """Parse a report: a long one in a thread, as it may take half a second."""
    if len(report.body) > LOOP_LIMIT_BYTES:
        return await asyncio.to_thread(parser, report)
    return parser(report)


async def _refuse_wrong(
    process: Process, app: App, scope: Scope, token: str | None
) -> Reply:
    """Refuse a wrong token, with a growing delay for a network that guesses."""
    if token:
        client = scope.get("client")
        await process.wrong_secrets.delay(network_of(client[0] if client else ""))
    return _refuse(app)


def _refuse(app: App) -> Reply:
    return app.error(
        401,
        "token.invalid",
        "This token is unknown or was revoked. Ask for a new one.",
    )


def split_path(path: str) -> tuple[str, str, str]:
    """Split /intake/APP/TOKEN/REST into its three parts; the last slash is optional."""
    name, _, more = path.removeprefix(PREFIX).partition("/")
    token, _, rest = more.partition("/")
    return name, token, rest.removesuffix("/")


def request_token(
    headers: dict[bytes, str], path_token: str, query: dict[str, str]
) -> str | None:
    """Return the token of a request: from its header, its path or its query string."""
    scheme, _, value = headers.get(b"authorization", "").partition(" ")
    match scheme.lower():
        case "bearer" if value.strip():
            return value.strip()
        case "basic":
            try:
                credentials = base64.b64decode(value).decode()
            except (binascii.Error, UnicodeDecodeError, ValueError):
                credentials = ""
            # Without a password, the token is in a different place.
            if password := credentials.partition(":")[2].strip():
                return password
    return path_token or query.get("token") or None


async def read_body(receive: Receive, encoding: str) -> tuple[bytes, FixError | None]:
    """Read a body and decompress it; an unusable body is returned as a `FixError`."""
    chunks: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(chunks)
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body, None
    try:
        return _unpack(body, encoding), None
    except FixError as error:
        return b"", error


def _unpack(body: bytes, encoding: str) -> bytes:
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise FixError(
            "message.invalid", "Send the body uncompressed, or compressed by gzip."
        )
    unpacker = zlib.decompressobj(wbits=47)  # Detect gzip or zlib by the header
    try:
        unpacked = unpacker.decompress(body, UPLOAD_LIMIT_BYTES)
    except zlib.error:
        raise FixError(
            "message.invalid", f"The body is not valid {encoding}."
        ) from None
    if unpacker.unconsumed_tail:
        raise FixError(
            "message.too_big",
            f"A body may have at most {UPLOAD_LIMIT_BYTES >> 20} MiB.",
        )
    if not unpacker.eof:
        raise FixError("message.invalid", "The compressed body is incomplete.")
    return unpacked


def _is_secure(scope: Scope) -> bool:
    """Return whether a request came by https, as Django's pages see it."""
    forwarded = _headers(scope).get(b"x-forwarded-proto", "")
    return scope.get("scheme") == "https" or forwarded == "https"


def _headers(scope: Scope) -> dict[bytes, str]:
    return {name: value.decode("latin-1") for name, value in scope["headers"]}


async def _answer(
    reply: Reply, scope: Scope, send: Send, app: App | None, after: float | None
) -> None:
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", str(len(reply.body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if settings.SECURE_HSTS_SECONDS and _is_secure(scope):
        # As on Django's pages.
        hsts = b"max-age=%d; includeSubDomains" % settings.SECURE_HSTS_SECONDS
        headers.append((b"strict-transport-security", hsts))
    if after is not None:
        headers.append((b"retry-after", str(after).encode()))
    if reply.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if reply.status == 405 and app is not None:
        headers.append((b"allow", ", ".join(sorted(app.methods)).encode()))
    await send(
        {"type": "http.response.start", "status": reply.status, "headers": headers}
    )
    await send({"type": "http.response.body", "body": reply.body})
