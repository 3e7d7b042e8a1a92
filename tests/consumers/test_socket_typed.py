"""The typed dialect `spectate.v1` on both real servers."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from runners.models import Runner, rights_signals
from runners.units.clock import now_ms
from tests.clients import Client, seed_client, typed_client
from tests.factories.people import make_phone, make_runner
from tests.servers import Server


@pytest.fixture(scope="module")
def bob(server: Server) -> str:
    """The token of Bob's phone."""
    return server.database(make_phone, "bob")


@contextlib.asynccontextmanager
async def bob_and_alice(
    server: Server, token: str
) -> AsyncIterator[tuple[Client, Client]]:
    """Yield the socket of Bob's phone, and one that follows him."""
    async with (
        typed_client(server.ws_url, token) as phone,
        typed_client(server.ws_url) as alice,
    ):
        await alice.send(type="follow", runners=["bob"], tick=0)
        await alice.receive_type("snapshot")
        yield phone, alice


async def publish(client: Client, *fixes: dict[str, Any]) -> dict[str, Any]:
    await client.send(type="publish", id="p", fixes=list(fixes))
    answer = await client.receive_until(lambda m: m["type"] in ("ack", "error"))
    assert answer["id"] == "p"
    return answer


async def test_welcome_names_the_publisher(server: Server, bob: str) -> None:
    async with seed_client(
        server.ws_url, subprotocols=[Subprotocol("spectate.v1")]
    ) as stranger:
        welcome = await stranger.receive()
        assert welcome["type"] == "welcome"
        assert welcome["runner"] is None
        assert welcome["heartbeat"] == 20
        assert abs(welcome["time"] - now_ms()) < 60_000
        await stranger.send(type="auth", token=bob, id=1)
        welcome = await stranger.receive()
        assert (welcome["runner"], welcome["id"]) == ("bob", 1)


@pytest.mark.parametrize("way", ["bearer", "basic", "query", "auth"])
async def test_a_token_is_accepted_in_each_way(
    server: Server, bob: str, way: str
) -> None:
    import base64

    url, headers = server.ws_url, {}
    if way == "bearer":
        headers = {"Authorization": f"Bearer {bob}"}
    elif way == "basic":
        secret = base64.b64encode(f"any:{bob}".encode()).decode()
        headers = {"Authorization": f"Basic {secret}"}
    elif way == "query":
        url += f"/?token={bob}"
    async with typed_client(url, additional_headers=headers) as phone:
        if way == "auth":
            await phone.send(type="auth", token=bob)
        ack = await publish(phone, {"t": now_ms(), "lat": 48.0, "lng": 2.0})
        assert (ack["stored"], ack["rejected"]) == (1, [])


@contextlib.contextmanager
def write_lock(database_url: str) -> Iterator[None]:
    """Block all inserts of positions: a server waits to commit."""
    if database_url.startswith("sqlite"):
        writer = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        with contextlib.closing(writer):
            writer.execute("BEGIN IMMEDIATE")
            yield
    else:
        with psycopg.connect(database_url) as postgres:
            postgres.execute("LOCK TABLE runners_position IN EXCLUSIVE MODE")
            yield


async def test_an_ack_is_sent_after_the_commit(server: Server, bob: str) -> None:
    fix = {"t": now_ms(), "lat": 48.0, "lng": 2.0}
    async with typed_client(server.ws_url, bob) as phone:
        with write_lock(server.env["DATABASE_URL"]):
            await phone.send(type="publish", fixes=[fix])
            await phone.send(type="ping")
            assert (await phone.receive())["type"] == "pong"
        assert (await phone.receive_type("ack"))["stored"] == 1


def runner_delete(code: str) -> None:
    Runner.objects.get(code=code).delete()


async def test_a_fix_that_the_database_refuses_is_not_acked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await server.adatabase(make_phone, "dora")
    now = now_ms()
    async with typed_client(server.ws_url, token) as phone:
        ack = await publish(phone, {"t": now, "lat": 48.0, "lng": 2.0})
        assert ack["stored"] == 1
        # The server does not learn of it before the fixes arrive.
        monkeypatch.setattr(rights_signals, "_record_change", lambda instance: None)
        await server.adatabase(runner_delete, "dora")
        answer = await publish(phone, {"t": now + 1, "lat": 48.0, "lng": 2.0})
        assert (answer["type"], answer["code"]) == ("error", "runner.unknown")


@pytest.mark.parametrize("way", ["handshake", "message"])
async def test_a_bad_token_gets_an_error_and_a_close_with_4401(
    server: Server, way: str
) -> None:
    options: dict[str, Any] = {"subprotocols": [Subprotocol("spectate.v1")]}
    if way == "handshake":
        options["additional_headers"] = {"Authorization": "Bearer nonsense"}
    async with seed_client(server.ws_url, **options) as charlie:
        if way == "message":
            await charlie.send(type="auth", token="nonsense", id=9)
        error = await charlie.receive_type("error")
        assert error["code"] == "token.invalid"
        assert await charlie.receive_close() == 4401


async def test_a_client_that_wakes_up_late_receives_the_close_code(
    server: Server,
) -> None:
    async with seed_client(
        server.ws_url, additional_headers={"Authorization": "Bearer nonsense"}
    ) as phone:
        # The phone sleeps longer than Daphne waits by default. The reply to its next
        # message would be a reset.
        phone.connection.transport.pause_reading()
        await asyncio.sleep(1.5)
        with contextlib.suppress(ConnectionClosed):
            for _ in range(3):
                await phone.send(initialRequest=True, following=["bob"])
        phone.connection.transport.resume_reading()
        assert await phone.receive_close() == 4401


async def test_a_follow_is_answered_by_a_snapshot_with_the_newest_fix(
    server: Server, bob: str
) -> None:
    t = now_ms()
    async with (
        typed_client(server.ws_url, bob) as phone,
        typed_client(server.ws_url) as alice,
    ):
        await publish(phone, {"t": t, "lat": 48.85, "lng": 2.35, "speed": 3.2})
        await alice.send(type="follow", runners=["bob"], tick=0, id="f")
        snapshot = await alice.receive()
        assert snapshot["type"] == "snapshot"
        assert (snapshot["id"], snapshot["more"]) == ("f", False)
        (runner,) = snapshot["runners"]
        assert (runner["code"], runner["name"]) == ("bob", "Bob")
        assert runner["fix"] == [t, 48.85, 2.35, 3.2, None, None]
        await publish(phone, {"t": t + 1, "lat": 48.86, "lng": 2.35})
        frame = await alice.receive_type("positions")
        assert frame["fixes"] == [["bob", t + 1, 48.86, 2.35, None, None, None]]
        assert frame["merged"] == 0


async def test_a_low_battery_is_sent_once_and_in_the_next_snapshot(
    server: Server, bob: str
) -> None:
    async with bob_and_alice(server, bob) as (phone, alice):
        for battery in (19.4, 19.3):
            position = {"t": now_ms(), "lat": 48.85, "lng": 2.35, "accuracy": 6.2}
            await publish(phone, position | {"battery": battery})
        await alice.send(type="ping", id="end")
        received = [await alice.receive()]
        while received[-1]["type"] != "pong":
            received.append(await alice.receive())
        (event,) = (m for m in received if m.get("kind") == "phone")
        assert (event["runner"], event["accuracy"], event["battery"]) == ("bob", 6, 19)
    async with typed_client(server.ws_url) as carol:
        await carol.send(type="follow", runners=["bob"])
        (runner,) = (await carol.receive_type("snapshot"))["runners"]
        assert (runner["accuracy"], runner["battery"]) == (6, 19)


async def test_late_points_are_sent_and_do_not_move_the_marker(
    server: Server, bob: str
) -> None:
    async with bob_and_alice(server, bob) as (phone, alice):
        t = now_ms()
        await publish(phone, {"t": t, "lat": 48.85, "lng": 2.35})
        await publish(phone, *({"t": t - n, "lat": 48.8, "lng": 2.3} for n in (1, 2)))
        assert (await alice.receive())["type"] == "positions"
        assert await alice.receive() == {
            "type": "late",
            "runner": "bob",
            "fixes": [[t - 2, 48.8, 2.3], [t - 1, 48.8, 2.3]],
        }


async def test_an_ack_lists_each_rejected_fix_and_counts_the_others(
    server: Server, bob: str
) -> None:
    t = now_ms()
    async with typed_client(server.ws_url, bob) as phone:
        fixes = [
            {"t": t, "lat": 48.0, "lng": 2.0},
            {"t": t + 1, "lat": 148.0, "lng": 2.0},
            {"lat": 48.0, "lng": 2.0},
            {"t": t + 3_600_000, "lat": 48.0, "lng": 2.0},
            {"t": t + 2, "lat": 48.0, "lng": 2.0},
        ]
        for _ in range(2):  # All fixes of the second round have been stored by now.
            ack = await publish(phone, *fixes)
            assert ack["stored"] == 2
            ahead = ack["rejected"][-1][-1]
            assert ahead.endswith("s ahead of the server's clock.")
            assert ack["rejected"] == [
                [1, "position.invalid", "lat must be a number from -90 to 90 degrees."],
                [2, "position.invalid", "`t` is in milliseconds since the epoch."],
                [3, "position.future", ahead],
            ]


async def test_publishing_needs_a_token_in_open_mode_too(open_server: Server) -> None:
    async with typed_client(open_server.ws_url) as stranger:
        answer = await publish(stranger, {"t": now_ms(), "lat": 48.0, "lng": 2.0})
        assert answer["code"] == "token.required"


@pytest.mark.parametrize("fixes", [None, [], {}, "x", [{"t": 1}] * 501])
async def test_a_publish_without_valid_fixes_is_an_error(
    server: Server, bob: str, fixes: Any
) -> None:
    async with typed_client(server.ws_url, bob) as phone:
        await phone.send(type="publish", fixes=fixes)
        assert (await phone.receive())["code"] == "publish.invalid"


async def test_unfollow_ends_the_stream_and_lists_what_ended(
    server: Server, bob: str
) -> None:
    async with bob_and_alice(server, bob) as (phone, alice):
        await alice.send(type="unfollow", runners=["bob", "nobody"], id=3)
        assert await alice.receive() == {
            "type": "unfollowed",
            "runners": ["bob"],
            "races": [],
            "public": False,
            "id": 3,
        }
        await publish(phone, {"t": now_ms(), "lat": 48.0, "lng": 2.0})
        assert await alice.received() == []


async def test_each_refused_runner_gets_an_error_and_the_others_a_snapshot(
    server: Server, bob: str
) -> None:
    await server.adatabase(make_runner, "carl", visibility="private")
    async with typed_client(server.ws_url) as alice:
        await alice.send(type="follow", runners=["bob", "carl", "nobody", [1]], id=4)
        errors = [await alice.receive() for _ in range(3)]
        assert {(e["code"], e.get("runner"), e.get("id")) for e in errors} == {
            ("runner.unknown", "carl", 4),
            ("runner.unknown", "nobody", 4),
            ("runner.invalid", None, 4),
        }
        snapshot = await alice.receive()
        assert [r["code"] for r in snapshot["runners"]] == ["bob"]
        # The replies for private and for unknown runners are identical.
        details = {e["detail"] for e in errors if e["code"] == "runner.unknown"}
        assert len(details) == 1


async def test_ping_fields_are_returned_in_the_pong(server: Server) -> None:
    async with typed_client(server.ws_url) as alice:
        ping = {"id": 1, "anything": {"a": [1]}}
        await alice.send(type="ping", **ping)
        assert await alice.receive() == {"type": "pong", **ping}


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("", "message.invalid"),
        ("null", "message.invalid"),
        ('{"type": "dance"}', "message.unknown"),
        ('{"type": ["follow"]}', "message.unknown"),
        ("{}", "message.unknown"),
        ('{"type": "follow", "runners": "bob"}', "message.invalid"),
        ('{"type": "follow", "races": {}}', "message.invalid"),
        ('{"type": "follow", "public": 1}', "message.invalid"),
        ('{"type": "follow", "public": true, "tick": "x"}', "message.invalid"),
        ('{"type": "follow", "races": ["none"]}', "race.unknown"),
        ('{"type": "follow", "races": [7]}', "race.unknown"),
        ('{"type": "ping", "id": [1]}', "message.invalid"),
        ('{"type": "auth", "token": 7}', "message.invalid"),
        ('{"type": "unfollow", "runners": [[]]}', "runner.invalid"),
    ],
)
async def test_a_bad_message_gets_one_error(
    server: Server, frame: str, code: str
) -> None:
    async with typed_client(server.ws_url) as alice:
        await alice.send_raw(frame)
        error = await alice.receive()
        assert (error["type"], error["code"]) == ("error", code)
        assert error["detail"]
        await alice.send(type="ping")
        await alice.receive_type("pong")


async def test_a_ping_that_cannot_be_returned_is_an_error(server: Server) -> None:
    async with typed_client(server.ws_url) as alice:
        nest = "[" * 300 + "]" * 300
        await alice.send_raw(f'{{"type": "ping", "deep": {nest}}}')
        assert (await alice.receive())["code"] == "message.invalid"
        await alice.send(type="ping", id="x" * 201)
        assert (await alice.receive())["code"] == "message.invalid"


async def test_a_since_in_the_far_future_counts_as_now(server: Server) -> None:
    async with typed_client(server.ws_url) as alice:
        await alice.send(type="follow", public=True, since=2**53 - 1)
        assert (await alice.receive())["type"] == "snapshot"


async def test_a_race_that_is_named_repeatedly_is_refused_once(server: Server) -> None:
    async with typed_client(server.ws_url) as alice:
        await alice.send(type="follow", races=["no\0ne", *["none"] * 2000])
        codes = [(await alice.receive())["code"] for _ in range(2)]
        assert codes == ["race.unknown", "race.unknown"]
        assert (await alice.receive())["type"] == "snapshot"


async def test_only_known_subprotocols_are_accepted(server: Server) -> None:
    async with seed_client(
        server.ws_url, subprotocols=[Subprotocol("chat"), Subprotocol("spectate.v1")]
    ) as alice:
        assert alice.connection.subprotocol == "spectate.v1"
    with pytest.raises(InvalidStatus) as refusal:
        async with seed_client(server.ws_url, subprotocols=[Subprotocol("chat")]):
            pass
    assert refusal.value.response.status_code == 403
