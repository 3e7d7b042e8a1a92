"""Errors that every operation of docs/openapi.yaml may answer, and how to cause them.

They depend on no rows: the operations are sent to the application without a server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from django.conf import settings
from django.middleware.common import CommonMiddleware

from runners.intake import endpoint
from runners.intake.delivery import TryLater
from runners.serving import bodies
from tests.api.answers import operations, parts_of_response
from tests.api.capture import Answer
from tests.api.documents import Document
from tests.api.faults import Faulty

Cause = Callable[[Faulty, str, str], Awaitable[Answer]]
# What is read of races and runners; the rest is for monitors.
PUBLIC = ("/live.json", "/races/", "/runners/")
PROFILE = "spectate.properties"


async def wrong_token(faulty: Faulty, method: str, path: str) -> Answer:
    async def no_delay(client: str) -> None:
        return None

    faulty.patch(faulty.process.wrong_secrets, "delay", no_delay)
    right = faulty.token
    faulty.patch(faulty, "token", "wrong")
    return await faulty.request(path.replace(right, "wrong"), method)


async def unencrypted(faulty: Faulty, method: str, path: str) -> Answer:
    faulty.patch(settings, "SECURE_SSL_REDIRECT", True)
    return await faulty.request(path, method)


async def wrong_method(faulty: Faulty, method: str, path: str) -> Answer:
    answer = await faulty.request(path, "DELETE")
    # A document describes the methods that there are.
    return answer._replace(method=method)


async def slow_body(faulty: Faulty, method: str, path: str) -> Answer:
    faulty.patch(bodies, "BODY_TIMEOUT_S", 0.0)
    return await faulty.request(path, method, body=None)


async def large_body(faulty: Faulty, method: str, path: str) -> Answer:
    faulty.patch(bodies, "UPLOAD_LIMIT_BYTES", 3)
    return await faulty.request(path, method, b"four")


async def failing(
    faulty: Faulty, method: str, path: str, error: Exception | None = None
) -> Answer:
    async def fail(*args: Any) -> None:
        raise error or RuntimeError("a fault of ours, for a test")

    faulty.patch(endpoint, "deliver", fail)
    return await faulty.request(path, method)


async def broken_page(faulty: Faulty, method: str, path: str) -> Answer:
    def fail(*args: Any) -> None:
        raise RuntimeError("a fault of ours, for a test")

    faulty.patch(CommonMiddleware, "process_request", fail)
    return await faulty.request(path, method)


async def bad_host(faulty: Faulty, method: str, path: str) -> Answer:
    return await faulty.request(path, method, host="no host")


def try_later(status: int, code: str) -> Cause:
    return partial(failing, error=TryLater(status, code, "Later.", 1))


OF_PHONES: tuple[tuple[str, Cause], ...] = (
    ("401", wrong_token),
    ("403", unencrypted),
    ("405", wrong_method),
    ("408", slow_body),
    ("413", large_body),
    ("429", try_later(429, "rate.limited")),
    ("500", failing),
    ("503", try_later(503, "server.busy")),
    ("503", try_later(503, "store.unavailable")),
)
OF_A_PROFILE: tuple[tuple[str, Cause], ...] = (("403", unencrypted),)
OF_READERS: tuple[tuple[str, Cause], ...] = (
    ("405", wrong_method),
    ("default", broken_page),
)
# A request that cannot be read is described as one that makes no sense, where it may.
BAD_REQUEST: tuple[tuple[str, Cause], ...] = (("400", bad_host),)


def refusals(document: Document) -> Iterator[tuple[str, str, str, str, Cause]]:
    """Yield (method, path, pointer, status, cause) of each such error."""
    for method, path, pointer in sorted(operations(document)):
        declared = document.at(f"{pointer}/responses")
        if path.endswith(PROFILE):
            causes = OF_A_PROFILE
        elif path.startswith("/intake/"):
            causes = OF_PHONES
        elif path.startswith(PUBLIC):
            causes = OF_READERS + (BAD_REQUEST if "400" in declared else ())
        else:
            continue
        for status, cause in causes:
            yield method, path, pointer, status, cause


def refused_parts(document: Document) -> set[str]:
    """Return the parts of the document that these errors use."""
    return {
        part
        for _, _, pointer, status, _ in refusals(document)
        for part in parts_of_response(document, pointer, status)
        # A real server answers with text to a body that is too large, and the other
        # parts of a description of 400 have to occur elsewhere.
        if status != "400" or part.endswith(" http.400")
    }
