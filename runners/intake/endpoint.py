"""The HTTP endpoint of all apps: /intake/APP/[TOKEN/].

It is an ASGI application besides Django's views, which saves a position the cost of
sessions, CSRF and a change of thread (bench/README.md has both figures).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import math
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from django.conf import settings

from runners import database
from runners.intake.app import WHOLE, App, Outcome, Reading, Reply, Report, fields_of
from runners.intake.generic import GENERIC
from runners.intake.gpslogger import GPSLOGGER
from runners.intake.osmand import OSMAND
from runners.intake.overland import OVERLAND
from runners.intake.owntracks import OWNTRACKS
from runners.intake.profile import PROFILE_FILE, gpslogger_profile
from runners.intake.traccar import TRACCAR
from runners.models import Runner
from runners.notifying.sos import alarm_store
from runners.positions.pipeline import Receipt
from runners.positions.validation import FixError
from runners.rights.token_lookup import TokenIdentity
from runners.serving.bodies import UPLOAD_LIMIT_BYTES, BodyRefused
from runners.serving.process import Process, current
from runners.units.clock import now_ms
from runners.units.errors import CodedError

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

# How long a response waits for the commit.
COMMIT_TIMEOUT_S = 10.0
# When to retry after the database was overloaded or unavailable.
RETRY_AFTER_S = 5

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class TryLater(CodedError):
    """The request cannot be handled now: the status, and the seconds until a retry."""

    def __init__(self, status: int, code: str, detail: str, after: float) -> None:
        super().__init__(code, detail)
        self.status = status
        self.after = math.ceil(after)


class Gone(Exception):
    """The phone disconnected before its request was complete."""


class Turn:
    """The requests of one token that this process is handling."""

    __slots__ = ("lock", "requests")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.requests = 0


class Turns:
    """The turns of the tokens whose requests are being handled."""

    def __init__(self) -> None:
        self._turns: dict[int, Turn] = {}

    @asynccontextmanager
    async def of(self, token: int) -> AsyncIterator[None]:
        """Wait for this request's turn among those of its token.

        Each pass of the event loop handles one request per token, so that a phone's
        backlog after an outage, or the responses after a commit, do not delay other
        phones.
        """
        turn = self._turns.get(token)
        if turn is None:
            turn = self._turns[token] = Turn()
        turn.requests += 1
        try:
            async with turn.lock:
                # Otherwise each request would be completed before the next one is
                # queued.
                await asyncio.sleep(0)
                yield
        finally:
            turn.requests -= 1
            if not turn.requests:
                del self._turns[token]


_turns = Turns()


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
    if process.admission.refuses_reports:
        process.pipeline.refused["server.busy"] += 1
        raise TryLater(
            503,
            "server.busy",
            "The server is overloaded. Keep what you have and try again.",
            RETRY_AFTER_S,
        )
    headers = _headers(scope)
    query = fields_of(scope.get("query_string", b"").decode("latin-1"))
    token = request_token(headers, path_token, query)
    bearer = None if token is None else await _bearer(process, token)
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
        token = app.token_of_body(report)
        bearer = await _bearer(process, token) if token else None
    if bearer is None:
        return await _refuse_wrong(process, app, scope, token)
    pk, runner = bearer.token, bearer.publisher.pk
    phone_activity = process.pipeline.phone_activity
    if not bearer.usable:
        ended = ("token.ended", "The phone still uses a token that has ended.")
        phone_activity.record(pk, runner, refused=[ended])
        return _refuse(app)
    try:
        if problem is not None:
            raise problem
        async with _turns.of(pk):
            reading = app.read(report)
            await _call_for_help(bearer, reading)
            receipt = await _publish(process, name, bearer, reading)
    except FixError as error:
        # A permanent error: sending it again would not help.
        process.pipeline.refuse(error)
        phone_activity.record(pk, runner, refused=[(error.code, error.detail)])
        return app.ok(Outcome(0, [(WHOLE, error.code, error.detail)]))
    except TryLater as error:
        phone_activity.record(pk, runner, refused=[(error.code, error.detail)])
        raise
    lost = await _commit(receipt)
    async with _turns.of(pk):
        pass
    rejected = [
        (reading.indices[index], code, detail)
        for index, code, detail in receipt.rejected
    ]
    phone_activity.record(
        pk,
        runner,
        app=reading.app,
        accepted=receipt.accepted,
        refused=[(code, detail) for _place, code, detail in rejected],
    )
    return app.ok(Outcome(receipt.accepted - lost, rejected))


async def _call_for_help(bearer: TokenIdentity, reading: Reading) -> None:
    """Store a call for help, before anything that may refuse its position."""
    if reading.call is None:
        return
    try:
        await database.read(alarm_store, runner=bearer.publisher.pk, call=reading.call)
    except Runner.DoesNotExist:
        pass  # The runner was deleted after the token was read.
    except database.DatabaseUnavailable:
        raise _store_unavailable() from None


async def _publish(
    process: Process, name: str, bearer: TokenIdentity, reading: Reading
) -> Receipt:
    """Pass fixes to the pipeline; raises `TryLater`."""
    if not reading.fixes:
        return Receipt([], 0, None)
    count = len(reading.fixes)
    bucket = process.publish_limits.of(bearer.publisher.pk)
    if wait := bucket.take(count):
        raise TryLater(
            429,
            "rate.limited",
            "Too many positions at once. Keep them and send them later.",
            wait,
        )
    receipt = await process.pipeline.accept(
        bearer.publisher, reading.fixes, source=name
    )
    if receipt.stored is None:
        bucket.refund(count)
        raise _store_unavailable()
    return receipt


async def _commit(receipt: Receipt) -> int:
    """Wait for the commit and return how many fixes the database refused."""
    if receipt.stored is None:
        return 0
    try:
        async with asyncio.timeout(COMMIT_TIMEOUT_S):
            return await asyncio.shield(receipt.stored)
    except TimeoutError:
        raise _store_unavailable() from None


async def _bearer(process: Process, token: str) -> TokenIdentity | None:
    try:
        return await process.tokens.find(token)
    except database.DatabaseUnavailable:
        raise _store_unavailable() from None


def _store_unavailable() -> TryLater:
    return TryLater(
        503,
        "store.unavailable",
        "The database does not keep up. Keep what you have and try again.",
        RETRY_AFTER_S,
    )


async def _refuse_wrong(
    process: Process, app: App, scope: Scope, token: str | None
) -> Reply:
    """Refuse a wrong token, with a growing delay for an address that guesses."""
    if token:
        client = scope.get("client")
        await process.wrong_secrets.delay(client[0] if client else "")
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
