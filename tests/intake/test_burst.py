"""A phone without coverage for three hours sends all its positions at once."""

from __future__ import annotations

import asyncio
import time

from runners.models import LatestPosition
from tests.clients import typed_client
from tests.factories.people import make_phone, make_runner
from tests.intake.payloads.overland import feature
from tests.intake.phones import Phone
from tests.servers import Kind, Server
from tests.waiting import PATIENCE_S, wait_until

# Only uvicorn is tested. Daphne takes a second for a hundred connections.
POINTS = {"uvicorn": 2_000, "daphne": 500}
EVERY_S = 5


async def send_point(phone: Phone, t: int) -> bytes:
    """Send a point as Traccar Client 8 does, on a new connection; return the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", phone.server.port)
    lng = -6.3285 + (t % 100_000) * 1e-7
    writer.write(
        f"POST /intake/osmand/{phone.token}/?id=1&timestamp={t}"
        f"&lat=53.3566&lon={lng:.7f}"
        "&speed=5.8&bearing=90.0&altitude=20.0&accuracy=6.0&batt=64.0 HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n")[0]


async def test_all_points_of_a_long_outage_are_stored_and_the_newest_is_sent(
    phone: Phone, server_kind: Kind
) -> None:
    newest = int(time.time())
    times = [newest - EVERY_S * n for n in range(POINTS[server_kind])]
    async with typed_client(phone.server.ws_url) as alice:
        await alice.send(type="follow", runners=["bob"], tick=0)
        await alice.receive_type("snapshot")
        sent = asyncio.gather(*(send_point(phone, t) for t in times))
        await alice.receive_until(
            lambda message: any(
                fix[1] == newest * 1000 for fix in message.get("fixes", ())
            )
        )
        async with asyncio.timeout(PATIENCE_S):
            answers = await sent
    assert {answer.split(b" ", 1)[1] for answer in answers} == {b"200 OK"}
    stored = await asyncio.to_thread(phone.stored)
    assert [fix["t"] for fix in stored] == [t * 1000 for t in sorted(times)]
    latest = await phone.server.adatabase(LatestPosition.objects.get)
    assert latest.recorded_at.timestamp() == newest


def test_a_runner_over_the_rate_is_refused_with_a_delay(server_kind: Kind) -> None:
    limits = {"SPECTATE_PUBLISH_BURST": "10", "SPECTATE_PUBLISH_RATE": "2"}
    with Server(server_kind, **limits) as server:
        server.database(make_runner, "bob")
        eve = server.database(make_phone, "eve")
        with Phone(server) as phone, Phone(server) as other:
            batch = {"locations": [feature(n) for n in range(8)]}
            answer = phone.send_json("/intake/overland/TOKEN", batch)
            assert answer.status == 200
            # Points are accepted until they exceed 2 per second.
            while answer.status == 200:
                answer = phone.send_json("/intake/overland/TOKEN", batch)
            assert answer.status == 429
            assert 1 <= int(answer.headers["retry-after"]) <= 4
            assert answer.json()["code"] == "rate.limited"
            # A different token of the same runner shares the limit.
            assert other.send_json("/intake/overland/TOKEN", batch).status == 429
            # Limits are per runner and never per address.
            assert phone.send_json(f"/intake/overland/{eve}", batch).status == 200
            # A batch over the burst is accepted when the runner's bucket is full.
            large_batch = {"locations": [feature(n) for n in range(30)]}
            wait_until(
                lambda: (
                    phone.send_json("/intake/overland/TOKEN", large_batch).status == 200
                )
            )
            # Eight of them are Eve's.
            assert len(phone.stored()) == 30 + 8
