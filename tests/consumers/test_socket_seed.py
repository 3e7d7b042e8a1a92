"""The seed dialect on both servers, as clients of the 2015 server use it."""

from __future__ import annotations

import contextlib
import json
import struct

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.clients import seed_client, typed_client
from tests.factories.people import make_phone
from tests.faults.peer import Peer
from tests.servers import Server
from tests.websocket import CLOSE, frame


@pytest.fixture(params=["/", "/ws/"])
def url(open_server: Server, request: pytest.FixtureRequest) -> str:
    """Both addresses of the endpoint, in open mode."""
    path: str = request.param
    return open_server.ws_url + path


async def test_followers_receive_what_a_publisher_sends(url: str) -> None:
    async with seed_client(url) as alice, seed_client(url) as bob:
        await alice.send(initialRequest=True, following=[7, "8"], userId=1)
        # Frames are handled in order: the error proves that the follow is in force.
        await alice.send_raw("?")
        await alice.receive()
        await bob.send(userId=7, lat=48.85, lng=2.35)
        await bob.send(userId="8", lat=48.850000001, lng=-2)
        assert await alice.receive() == {"userId": 7, "lat": 48.85, "lng": 2.35}
        assert await alice.receive() == {"userId": "8", "lat": 48.850000001, "lng": -2}
        assert await bob.received() == []


async def test_a_socket_may_follow_the_runner_that_it_publishes(url: str) -> None:
    async with seed_client(url) as bob:
        await bob.send(initialRequest=True, following=[21, 22], userId=21)
        for n in range(50):
            await bob.send(userId=21, lat=n, lng=1.5)
        assert [(await bob.receive())["lat"] for _ in range(50)] == list(range(50))


async def test_a_second_initial_request_adds_to_the_first(url: str) -> None:
    async with seed_client(url) as bob:
        await bob.send(initialRequest=True, following=[31])
        await bob.send(initialRequest=True, following=[32])
        await bob.send(initialRequest=True, following=[])
        for runner in (31, 32):
            await bob.send(userId=runner, lat=1, lng=1)
        assert [(await bob.receive())["userId"] for _ in range(2)] == [31, 32]


async def test_an_impossible_position_gets_an_error_and_is_not_published(
    url: str,
) -> None:
    async with seed_client(url) as alice, seed_client(url) as bob:
        await alice.send(initialRequest=True, following=[41])
        await alice.send_raw("?")
        await alice.receive()
        await bob.send(userId=41, lat=123.4, lng=2.35)
        assert (await bob.receive())["error"] == "position.invalid"
        await bob.send(userId=41, lat=48, lng=2)
        assert (await alice.receive())["lat"] == 48


@pytest.mark.parametrize("closes", [False, True], ids=["stays", "closes"])
async def test_frames_of_one_read_are_handled_one_by_one(
    url: str, closes: bool
) -> None:
    def position(runner: object, number: int) -> bytes:
        return frame(
            json.dumps({"userId": runner, "lat": 1, "lng": number / 2}).encode()
        )

    pieces = [position((65, "65", 66)[n // 5 % 3], n) for n in range(250)]
    pieces[40] = frame(b"?")
    pieces[90] = position(65, 400)
    pieces[91] = position(True, 91)
    pieces[92] = position(65.0, 92)
    pieces[-1] = frame(b'{"userId": "65", "lat": 0, "lng": 0}')
    wrong = {40, 90, 91, 92, 249}
    async with seed_client(url) as alice:
        await alice.send(initialRequest=True, following=[65, 66])
        await alice.send_raw("?")
        await alice.receive()
        bob = await Peer().open(url)
        end = frame(struct.pack("!H", 1000), CLOSE) if closes else b""
        bob.send_raw(b"".join(pieces) + end)
        received = [await alice.receive() for _ in range(250 - len(wrong))]
        errors = [] if closes else [await bob.message() for _ in wrong]
        bob.transport.abort()

    numbers: dict[int, list[int]] = {65: [], 66: []}
    for message in received:
        number = round(2 * message["lng"])
        assert message["userId"] == (65, "65", 66)[number // 5 % 3]
        numbers[int(message["userId"])].append(number)
    sent = [n for n in range(250) if n not in wrong]
    assert numbers[65] == [n for n in sent if n // 5 % 3 < 2]
    assert numbers[66] == [n for n in sent if n // 5 % 3 == 2]
    assert closes or [message["error"].partition(".")[0] for message in errors] == [
        *("message", "position", "runner", "runner", "position"),
    ]


async def test_each_position_has_the_id_that_its_phone_has_sent(
    open_server: Server,
) -> None:
    def position(wire_id: object) -> bytes:
        return frame(json.dumps({"userId": wire_id, "lat": 1, "lng": 2}).encode())

    token = await open_server.adatabase(make_phone, "68")
    async with seed_client(open_server.ws_url) as alice:
        await alice.send(initialRequest=True, following=[68])
        await alice.send_raw("?")
        await alice.receive()
        bob = await Peer().open(f"{open_server.ws_url}/?token={token}")
        # The ids are known after the first read.
        for ids in ([68, "68"], [68, "68", "68", 68]):
            bob.send_raw(b"".join(map(position, ids)))
            assert [(await alice.receive())["userId"] for _ in ids] == ids
        bob.transport.abort()


async def test_a_typed_follower_receives_the_newest_positions_of_one_read(
    open_server: Server,
) -> None:
    def position(number: int) -> bytes:
        return frame(json.dumps({"userId": 67, "lat": 1, "lng": number / 2}).encode())

    async with typed_client(open_server.ws_url) as alice:
        await alice.send(type="follow", runners=[67], tick=250)
        await alice.receive_type("snapshot")
        bob = await Peer().open(open_server.ws_url + "/")
        bob.send_raw(b"".join(map(position, range(300))))
        seen = 0
        while seen < 300:
            message = await alice.receive()
            # No position was late, and followers do not receive a backlog.
            assert message["type"] == "positions"
            seen += len(message["fixes"]) + message["merged"]
            last = message["fixes"][-1] if message["fixes"] else None
        bob.transport.abort()
    assert last is not None
    assert last[3] == 299 / 2


async def test_the_ids_007_and_7_are_different_runners(url: str) -> None:
    async with seed_client(url) as bob:
        await bob.send(initialRequest=True, following=["007"])
        await bob.send(userId=7, lat=1, lng=1)
        await bob.send(userId="007", lat=2, lng=2)
        assert await bob.receive() == {"userId": "007", "lat": 2, "lng": 2}


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        ("not json", "message.invalid"),
        ("", "message.invalid"),
        ("[]", "message.invalid"),
        ("7", "message.invalid"),
        ("{}", "message.invalid"),
        ('{"userId": 7, "lat": NaN, "lng": 1}', "message.invalid"),
        ("[" * 50_000, "message.invalid"),
        ('{"initialRequest": true}', "message.invalid"),
        ('{"initialRequest": true, "following": "7"}', "message.invalid"),
        ('{"initialRequest": true, "following": [[7]]}', "runner.invalid"),
        ('{"initialRequest": true, "following": [7.5]}', "runner.invalid"),
        ('{"userId": [7], "lat": 1, "lng": 1}', "runner.invalid"),
        ('{"userId": true, "lat": 1, "lng": 1}', "runner.invalid"),
        ('{"lat": 1, "lng": 1}', "runner.invalid"),
        ('{"userId": 7, "lat": "1", "lng": 1}', "position.invalid"),
        ('{"userId": 7, "lat": 0, "lng": 0}', "position.invalid"),
        ('{"userId": 7, "lat": 1}', "position.invalid"),
        (
            json.dumps({"userId": 7, "lat": 1, "lng": 1, "time": 2**60}),
            "position.future",
        ),
    ],
)
async def test_a_bad_frame_gets_one_error_and_the_socket_stays_open(
    url: str, frame: str, error: str
) -> None:
    async with seed_client(url) as bob:
        await bob.send_raw(frame)
        answer = await bob.receive()
        assert answer["error"] == error
        assert answer["detail"]
        await bob.send(initialRequest=True, following=[51])
        await bob.send(userId=51, lat=1, lng=1)
        assert await bob.receive() == {"userId": 51, "lat": 1, "lng": 1}


async def test_a_binary_frame_closes_the_socket(url: str) -> None:
    async with seed_client(url) as bob:
        await bob.send_raw(b"\x00\x01")
        assert await bob.receive_close() == 4400


@pytest.mark.parametrize("size", [140_000, 1024 * 1024])
async def test_a_frame_over_the_limit_closes_the_socket(
    url: str, open_server: Server, size: int
) -> None:
    async with seed_client(url) as bob:
        with contextlib.suppress(ConnectionClosed):
            await bob.send_raw("x" * size)
        code = await bob.receive_close()
    # Applications on Daphne cannot close with 1009; the error explains the close.
    assert code == (1009 if open_server.kind == "uvicorn" else 1000)


async def test_following_too_many_runners_follows_the_first_thousand(url: str) -> None:
    async with seed_client(url) as bob:
        await bob.send(initialRequest=True, following=list(range(100_000, 110_000)))
        assert (await bob.receive())["error"] == "follow.limit"
        await bob.send(userId=100_999, lat=1, lng=1)
        assert (await bob.receive())["userId"] == 100_999


@pytest.mark.parametrize("path", ["/nowhere", "/ws", "/ws/x/", "/admin/"])
async def test_an_unknown_path_is_refused_before_accept(
    open_server: Server, path: str
) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        async with seed_client(open_server.ws_url + path):
            pass
    assert refusal.value.response.status_code == 403


async def test_without_open_mode_publishing_needs_a_token(server: Server) -> None:
    token = await server.adatabase(make_phone, "bob")
    bearer = {"Authorization": f"Bearer {token}"}
    async with (
        seed_client(server.ws_url) as alice,
        seed_client(server.ws_url, additional_headers=bearer) as bob,
    ):
        await alice.send(initialRequest=True, following=["bob", "nobody"])
        assert (await alice.receive())["error"] == "runner.unknown"
        await alice.send(userId="bob", lat=1, lng=1)
        assert (await alice.receive())["error"] == "token.required"
        await bob.send(userId="carl", lat=1, lng=1)
        assert (await bob.receive())["error"] == "runner.mismatch"
        await bob.send(userId="bob", lat=2, lng=2)
        await bob.send(lat=3, lng=3)
        assert await alice.receive() == {"userId": "bob", "lat": 2, "lng": 2}
        assert await alice.receive() == {"userId": "bob", "lat": 3, "lng": 3}


async def test_seed_and_typed_clients_see_the_same_runner(open_server: Server) -> None:
    async with (
        seed_client(open_server.ws_url) as bob,
        typed_client(open_server.ws_url) as alice,
    ):
        await alice.send(type="follow", runners=[61], tick=0)
        await alice.receive_type("snapshot")
        await bob.send(userId=61, lat=48.85, lng=2.35, speed=3, time=1_795_509_018_532)
        frame = await alice.receive_type("positions")
        assert frame["fixes"] == [
            ["61", 1_795_509_018_532, 48.85, 2.35, 3.0, None, None]
        ]
