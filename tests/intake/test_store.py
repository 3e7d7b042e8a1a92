"""Replies while the recorder is full or the database is unavailable, and delays."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any
from unittest.mock import AsyncMock

import orjson
import pytest
from pytest_django import Settings

from runners import database
from runners.intake import delivery, endpoint
from runners.intake.app import Reading, Report
from runners.intake.endpoint import intake
from runners.intake.osmand import OSMAND
from runners.models import Position, Runner
from runners.positions import recorder
from runners.rights import token_cache
from runners.serving.process import Process
from runners.units.clock import now_ms
from tests.asgi import exchange
from tests.factories.people import make_phone

POINT = b"lat=53.3566&lon=-6.3285&timestamp=1780210800"


@pytest.fixture
def token(transactional_db: None) -> str:
    return make_phone("bob")


async def send(
    token: str, body: bytes = b"", **more: Any
) -> tuple[int, dict[bytes, bytes]]:
    """Send a point to the endpoint; return status and headers."""
    path = f"/intake/osmand/{token}/"
    scope = {"path": path, "method": "GET", "query_string": POINT, "headers": []}
    start, *_ = await exchange(intake, scope | more, body)
    return start["status"], dict(start["headers"])


async def test_only_a_wrong_token_is_delayed(
    process: Process, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    delay = AsyncMock()
    monkeypatch.setattr(process.wrong_secrets, "delay", delay)
    assert (await send("guess", client=("2001:db8::7", 1)))[0] == 401
    delay.assert_awaited_once_with("2001:db8::/64")
    assert (await send(token))[0] == 200
    delay.assert_awaited_once()


async def test_a_long_report_is_parsed_in_a_thread(
    process: Process, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def read(report: Report) -> Reading:
        threads.append(threading.current_thread())
        return OSMAND.read(report)

    monkeypatch.setitem(endpoint.APPS, "osmand", replace(OSMAND, read=read))
    for length in (2, endpoint.LOOP_LIMIT_BYTES + 1):
        assert (await send(token, b"[]".ljust(length), method="POST"))[0] == 200
    own = threading.current_thread()
    assert [thread is own for thread in threads] == [True, False]


async def test_a_server_with_https_accepts_no_position_by_plain_http(
    process: Process, token: str, settings: Settings
) -> None:
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 10
    forwarded = [(b"x-forwarded-proto", b"https")]
    for status, more in (
        (403, {"scheme": "http"}),
        (200, {"scheme": "https"}),
        (200, {"scheme": "http", "headers": forwarded}),
    ):
        got, headers = await send(token, **more)
        assert got == status
        assert headers[b"x-content-type-options"] == b"nosniff"
        hsts = headers.get(b"strict-transport-security")
        assert hsts == (b"max-age=10; includeSubDomains" if got == 200 else None)


async def test_a_full_recorder_is_503_and_accepts_the_point_later(
    process: Process, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "CAPACITY", 0)
    status, headers = await send(token)
    assert (status, headers[b"retry-after"]) == (503, b"5")
    monkeypatch.undo()
    assert (await send(token))[0] == 200
    assert await Position.objects.acount() == 1


async def test_an_unavailable_database_is_503(
    process: Process, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*args: object) -> None:
        raise database.DatabaseUnavailable

    monkeypatch.setattr(database, "read", read)
    status, headers = await send(token)
    assert (status, headers[b"retry-after"]) == (503, b"5")
    monkeypatch.undo()
    assert (await send(token))[0] == 200


async def test_a_commit_that_takes_too_long_is_503(
    process: Process, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "COMMIT_TIMEOUT_S", 0)
    assert (await send(token))[0] == 503
    monkeypatch.undo()
    # The repeated point is stored already, and the reply counts it as stored.
    assert (await send(token))[0] == 200
    assert await Position.objects.acount() == 1


async def test_a_fix_that_the_database_refuses_is_not_counted_as_stored(
    process: Process, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither of them learns that the runner is deleted.
    monkeypatch.setattr(token_cache, "LIFE_S", 3_600)
    await process.access_monitor.close()

    async def stored(t: int) -> object:
        scope = {"path": f"/intake/generic/{token}/", "method": "POST", "headers": []}
        body = orjson.dumps({"t": t, "lat": 48.0, "lng": 2.0})
        start, answer = await exchange(intake, scope | {"query_string": b""}, body)
        assert start["status"] == 200
        return orjson.loads(answer["body"])["stored"]

    now = now_ms()
    assert await stored(now) == 1
    await Runner.objects.all().adelete()
    assert await stored(now + 1) == 0
