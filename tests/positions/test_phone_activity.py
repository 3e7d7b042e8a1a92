"""Phone activity is added up in both databases."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from runners.models import LatestPosition, Phone, RightsChange, Runner, RunnerToken
from runners.positions.phone_activity import PhoneActivity, write_phone_activity
from tests.clients import seed_client, typed_client
from tests.factories.people import make_phone
from tests.factories.positions import make_latest
from tests.servers import Server
from tests.waiting import wait_until


@pytest.fixture
def token(db: None) -> RunnerToken:
    bob = Runner.objects.create(code="bob", name="Bob")
    return RunnerToken.objects.issue(bob, name="phone")[0]


def make_activity(token: RunnerToken, **more: int) -> PhoneActivity:
    """Return the activity of a request: one accepted position, and refused ones."""
    activity = PhoneActivity(token.runner_id)
    refused = [
        (reason.replace("_", "."), "Why.") for reason in Counter(more).elements()
    ]
    activity.add("Overland", 1, refused, timezone.now())
    return activity


def test_counts_are_added_up(token: RunnerToken) -> None:
    write_phone_activity({token.pk: make_activity(token, position_future=2)})
    write_phone_activity(
        {token.pk: make_activity(token, position_future=1, position_invalid=1)}
    )
    write_phone_activity({token.pk: make_activity(token)})
    phone = Phone.objects.get(token=token)
    assert (phone.accepted, phone.refused, phone.last_reason) == (3, 4, "Why.")
    assert phone.reasons == {"position.future": 3, "position.invalid": 1}
    token.refresh_from_db()
    assert token.last_used_at is not None


def test_the_last_use_of_a_token_is_that_of_its_last_contact(
    token: RunnerToken,
) -> None:
    at = timezone.now() - timedelta(hours=2)
    for earlier in (timedelta(0), timedelta(hours=1)):
        activity = PhoneActivity(token.runner_id)
        activity.add("", 1, [], at - earlier)
        write_phone_activity({token.pk: activity})
    token.refresh_from_db()
    assert token.last_used_at == at


def test_a_deleted_token_is_ignored(token: RunnerToken) -> None:
    write_phone_activity(
        {token.pk: make_activity(token), token.pk + 1: make_activity(token)}
    )
    assert Phone.objects.count() == 1


def test_phone_activity_changes_no_right(token: RunnerToken) -> None:
    before = RightsChange.objects.count()
    write_phone_activity({token.pk: make_activity(token)})
    assert RightsChange.objects.count() == before


def test_only_a_heartbeat_updates_the_contact_time_of_the_runner(
    token: RunnerToken,
) -> None:
    old = timezone.now().replace(year=2020)
    make_latest(token.runner, old)
    # The recorder updates the contact time with each position.
    write_phone_activity({token.pk: make_activity(token)})
    assert LatestPosition.objects.get().contact_at == old
    heartbeat = PhoneActivity(token.runner_id)
    heartbeat.add("OsmAnd", 0, (), timezone.now())
    write_phone_activity({token.pk: heartbeat})
    assert LatestPosition.objects.get().contact_at > old


async def test_activity_on_a_websocket_is_recorded_as_over_http(
    server: Server,
) -> None:
    token = await server.adatabase(make_phone, "bob")
    good = {"t": int(time.time() * 1000), "lat": 53.3566, "lng": -6.3285}
    async with typed_client(server.ws_url, token) as phone:
        await phone.send(type="publish", fixes=[good, good | {"t": 9e12}, {"lat": 1}])
        ack = await phone.receive_type("ack")
        assert [code for _, code, _ in ack["rejected"]] == [
            *("position.invalid", "position.invalid"),
        ]
    bearer = {"Authorization": f"Bearer {token}"}
    async with seed_client(server.ws_url, additional_headers=bearer) as phone:
        await phone.send(userId="bob", lat=53.3567, lng=-6.3285)
        # It is recorded a minute after the last one, or when the socket closes.
        await phone.send(userId="bob", lat=53.3568, lng=-6.3285)
        await phone.send(userId="bob", lat=91, lng=2)
        await phone.receive()

    def is_recorded() -> bool:
        phone = Phone.objects.first()
        return (
            phone is not None
            and (phone.refused, phone.reasons) == (3, {"position.invalid": 3})
            and phone.accepted == 3
            and phone.fix_at is not None
            and "lat" in phone.last_reason
        )

    await asyncio.to_thread(wait_until, lambda: server.database(is_recorded))


def test_activity_is_recorded_in_postgresql(postgres_url: str) -> None:
    with Server("uvicorn", DATABASE_URL=postgres_url) as server:
        token = server.database(make_phone, "bob")
        body = json.dumps(
            [{"lat": 53.3566, "lon": -6.3285, "timestamp": 1780210800}, {"lat": 1}]
        )
        for _time in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            connection.request("POST", f"/intake/generic/{token}", body)
            assert connection.getresponse().status == 200
            connection.close()

        recorded = Phone.objects.filter(
            app="Unknown app",
            accepted=2,
            refused=2,
            reasons={"position.invalid": 2},
            last_reason="lng must be a number from -180 to 180 degrees.",
            token__last_used_at__isnull=False,
        )
        wait_until(lambda: server.database(recorded.exists))
        server.stop()
        assert "Traceback" not in server.log
