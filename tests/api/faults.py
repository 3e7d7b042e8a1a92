"""Responses to faults, which are caused by breaking a part of the process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from runners import database
from runners.positions import tracks
from runners.positions.privacy_rules import PrivacyRules
from runners.serving.admission import Admission
from runners.serving.process import Process
from spectate.asgi import application
from tests.api.capture import Answer
from tests.asgi import exchange


class Faulty:
    """The application without a server, whose parts can be broken."""

    def __init__(
        self, process: Process, monkeypatch: pytest.MonkeyPatch, token: str
    ) -> None:
        self.process = process
        self.patch = monkeypatch.setattr
        self.repair = monkeypatch.undo
        self.token = token

    async def request(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = b"",
        host: str = "localhost",
    ) -> Answer:
        """Send a request; without a body (None), the rest of it never arrives.

        The token is in the path, or else in a header. Pages are Django's, not the short
        way of arrival times.
        """
        headers = [(b"host", host.encode()), (b"spectate-share-pin", b"1")]
        if path == "/intake/generic/":
            headers.append((b"authorization", f"Bearer {self.token}".encode()))
        scope = {"method": method, "path": path, "headers": headers}
        sent = await exchange(application, scope, body)
        received = {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}
        response_body = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(method, path, "", sent[0]["status"], received, response_body)


async def overloaded(faulty: Faulty) -> Answer:
    faulty.patch(Admission, "overloaded", True)
    return await faulty.request("/readyz")


async def without_database(faulty: Faulty, path: str = "/readyz") -> Answer:
    async def read(*args: object) -> None:
        raise database.DatabaseUnavailable

    faulty.patch(database, "read", read)
    return await faulty.request(path)


async def lagging(faulty: Faulty) -> Answer:
    faulty.patch(Admission, "refuses_reports", True)
    return await faulty.request("/intake/generic/x/", "POST")


async def runner_deleted(faulty: Faulty) -> Answer:
    # The token is still cached.
    faulty.patch(tracks, "read_rules", lambda pk: PrivacyRules(exists=False))
    return await faulty.request(
        f"/intake/generic/{faulty.token}/", "POST", b'{"lat": 48, "lon": 2}'
    )


READY = "#/paths/~1readyz/get/responses/503/content/application~1json/schema/oneOf"
BUSY = "#/components/responses/KeepIt/content/application~1json/schema/properties/error"
REJECTED = "#/components/schemas/Rejected/items/prefixItems/1"
COURSE = "#/paths/~1races~1{slug}~1course.%s/get/responses/503"
# Faults by the part of docs/openapi.yaml that each response uses.
FAULTS: dict[str, Callable[[Faulty], Awaitable[Answer]]] = {
    f"{READY}/0/properties/process overloaded": overloaded,
    f"{READY}/1": without_database,
    f"{READY}/1/properties/database": without_database,
    **{
        COURSE % kind: partial(without_database, path=f"/races/ten/course.{kind}")
        for kind in ("gpx", "geojson")
    },
    f"{BUSY} server.busy": lagging,
    f"{REJECTED} runner.unknown": runner_deleted,
}
