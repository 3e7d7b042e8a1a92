"""OwnTracks in MQTT mode, through a real broker with the files of deploy/mosquitto/."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import struct
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import starmap
from typing import Any, Self

import pytest
from django.test import AsyncClient
from django.utils import timezone
from pytest_django import Settings

from runners import database
from runners.intake import delivery
from runners.intake.mqtt import Message, Mqtt
from runners.intake.mqtt_connection import Connection
from runners.management.checkup.broker import check_broker
from runners.management.checkup.problem import Problem
from runners.models import Phone, Position, RunnerToken
from runners.positions import recorder
from runners.positions.rate_limits import Limits
from runners.serving.process import Process
from runners.units.clock import milliseconds
from tests.factories.people import make_phone
from tests.intake.mqtt_phones import MqttPhone
from tests.intake.phones import MS, SECONDS
from tests.servers import free_port
from tests.services import Mosquitto
from tests.waiting import eventually

HERE = (53.3566, -6.3285)
# The first byte of a PUBACK.
PUBACK = 0x40


@pytest.fixture(scope="module")
def broker() -> Iterator[Mosquitto]:
    with Mosquitto() as broker:
        yield broker


@pytest.fixture(autouse=True)
def own_session(
    request: pytest.FixtureRequest, settings: Settings, broker: Mosquitto
) -> None:
    """Give each test a session of its own at the broker."""
    settings.SPECTATE_MQTT_URL = broker.url
    settings.PUBLIC_URL = f"https://{abs(hash(request.node.nodeid))}.example"


@pytest.fixture
def phone(transactional_db: None, broker: Mosquitto) -> Iterator[MqttPhone]:
    """Bob's phone."""
    with MqttPhone(broker, "bob", make_phone("bob")) as phone:
        yield phone


class Receiver(Mqtt):
    """Counts the messages that it has acked."""

    acked = 0

    def _ack(self, message: Message) -> None:
        super()._ack(message)
        self.acked += 1


@contextlib.asynccontextmanager
async def receiving(process: Process) -> AsyncIterator[Receiver]:
    """Receive messages; the subscription exists from the first statement on."""
    source = Receiver(process)
    subscribed = threading.Event()
    source._client.on_subscribe = lambda *args: subscribed.set()
    source.start()
    try:
        await eventually(subscribed.is_set)
        yield source
    finally:
        await source.close()


async def stored() -> list[tuple[Any, ...]]:
    """Return all positions: time in milliseconds, place, battery, source."""
    rows = Position.objects.order_by("recorded_at").values_list(
        "recorded_at", "lat", "lng", "battery", "source"
    )
    return [(milliseconds(at), *rest) async for at, *rest in rows]


async def activity(process: Process) -> list[tuple[str, int, dict[str, int]]]:
    """Return what is known of phones: app, positions accepted, reasons of refusals."""
    await process.pipeline.phone_activity.flush()
    return [(p.app, p.accepted, p.reasons) async for p in Phone.objects.all()]


async def test_a_position_is_stored_with_its_own_time(
    process: Process, phone: MqttPhone
) -> None:
    async with receiving(process) as receiver:
        phone.locate(SECONDS, HERE)
        await eventually(lambda: receiver.acked)
    assert await stored() == [(MS, *HERE, 64.0, "owntracks")]
    assert await activity(process) == [("OwnTracks", 1, {})]


async def test_what_was_published_while_the_server_was_away_comes_afterwards(
    process: Process, phone: MqttPhone, broker: Mosquitto
) -> None:
    async with receiving(process):
        pass
    for n in range(3):
        phone.locate(SECONDS + n, HERE)
    await eventually(lambda: len(phone.acked) == 3)
    broker.stop()
    broker.start()
    async with receiving(process):
        await eventually(lambda: process.recorder.stored >= 3)
    assert [t for t, *_ in await stored()] == [MS, MS + 1000, MS + 2000]


async def test_a_message_is_acked_only_after_its_commit(
    process: Process, phone: MqttPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "CAPACITY", 0)
    async with receiving(process):
        phone.locate(SECONDS, HERE)
        await eventually(lambda: process.pipeline.accepted)
    assert await stored() == []
    monkeypatch.undo()
    async with receiving(process):
        await eventually(lambda: process.recorder.stored)
    assert [t for t, *_ in await stored()] == [MS]


async def test_a_message_is_handled_again_once_the_database_is_available(
    process: Process, phone: MqttPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "CAPACITY", 0)
    monkeypatch.setattr(delivery, "RETRY_AFTER_S", 0)
    async with receiving(process):
        phone.locate(SECONDS, HERE)
        await eventually(lambda: process.pipeline.accepted)
        monkeypatch.setattr(recorder, "CAPACITY", 1)
        await eventually(lambda: process.recorder.stored)


async def test_a_message_that_the_broker_sends_again_is_not_counted_as_refused(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Mqtt(process)
    monkeypatch.setattr(delivery, "RETRY_AFTER_S", 0)

    async def fail(message: Message) -> None:
        raise delivery._store_unavailable()

    monkeypatch.setattr(receiver, "_deliver", fail)
    ended = receiver._connections - 1
    await receiver._store(Message("phones/x", b"", False, 1, 1, ended))
    assert not list(receiver.refused)


async def test_neither_retained_messages_nor_wills_are_signs_of_life(
    process: Process, settings: Settings, mosquitto: Mosquitto
) -> None:
    # A broker of its own, as the retained message would come to other tests too.
    settings.SPECTATE_MQTT_URL = mosquitto.url
    token = await database.work(make_phone, "bob")
    with MqttPhone(mosquitto, "bob", token) as phone:
        phone.locate(SECONDS, HERE, retain=True)
        await eventually(lambda: phone.acked)
        async with receiving(process) as receiver:
            await eventually(lambda: receiver.acked)
            phone.send({"_type": "lwt", "tst": SECONDS})
            phone.locate(SECONDS - 1, HERE)
            await eventually(lambda: receiver.acked >= 3)
    assert [t for t, *_ in await stored()] == [MS - 1000, MS]
    assert await activity(process) == [("OwnTracks", 1, {})]


async def test_properties_that_paho_cannot_parse_delay_nobody(
    process: Process, phone: MqttPhone, broker: Mosquitto
) -> None:
    with socket.create_connection(("127.0.0.1", broker.port)) as other:
        other.sendall(connect_packet("phones", broker.password))
        assert other.recv(1024)[3] == 0
        async with receiving(process) as receiver:
            # A content type of U+FEFF.
            other.sendall(
                publish_packet("owntracks/phones/x", b"{}", b"\3\0\3\xef\xbb\xbf")
            )
            assert other.recv(1024)[0] == PUBACK
            phone.locate(SECONDS, HERE)
            await eventually(lambda: receiver.acked >= 2)
    assert receiver.refused == {"token.invalid": 1}
    assert [t for t, *_ in await stored()] == [MS]


async def test_tokens_that_do_not_publish_delay_nobody(
    process: Process, phone: MqttPhone, broker: Mosquitto
) -> None:
    ended = await database.work(make_phone, "eve")
    await RunnerToken.objects.filter(runner__code="eve").aupdate(
        revoked_at=timezone.now()
    )
    with MqttPhone(broker, "eve", ended) as eve, MqttPhone(broker, "x", "x") as unknown:
        async with receiving(process) as receiver:
            for each in (eve, unknown, phone):
                each.locate(SECONDS, HERE)
            await eventually(lambda: receiver.acked >= 3)
    assert process.pipeline.refused == {"token.invalid": 1}
    assert receiver.refused == {"token.invalid": 1, "token.ended": 1}
    assert [
        runner async for runner in Position.objects.values_list("runner__code")
    ] == [("bob",)]
    assert ("", 0, {"token.ended": 1}) in await activity(process)


async def test_too_many_positions_of_one_phone_delay_no_other_one(
    process: Process, phone: MqttPhone, broker: Mosquitto
) -> None:
    process.publish_limits = Limits(0.001, 1)
    async with receiving(process) as receiver:
        for n in range(3):
            phone.locate(SECONDS + n, HERE)
        with MqttPhone(broker, "eve", await database.work(make_phone, "eve")) as eve:
            eve.locate(SECONDS, HERE)
            await eventually(lambda: receiver.acked >= 4)
    assert receiver.refused == {"rate.limited": 2}
    known = await activity(process)
    assert sorted(accepted for _, accepted, _ in known) == [1, 1]
    assert {"rate.limited": 2} in [reasons for _, _, reasons in known]


async def test_phones_read_no_topic_and_publish_below_their_own_account_only(
    process: Process, phone: MqttPhone, broker: Mosquitto
) -> None:
    async with receiving(process):
        phone.subscribe("owntracks/#")
        with MqttPhone(broker, "eve", await database.work(make_phone, "eve")) as eve:
            token, eve.topic = eve.topic, eve.topic.replace("phones", "spectate")
            eve.locate(SECONDS, HERE)
            await eventually(lambda: eve.acked)
            eve.topic = token
            eve.locate(SECONDS + 1, HERE)
            await eventually(lambda: process.recorder.stored)
        # Its ack comes after whatever the broker has sent to this phone before.
        phone.send({"_type": "cmd"})
    assert [t for t, *_ in await stored()] == [MS + 1000]
    assert phone.received == []


async def test_the_next_process_takes_the_session_over(
    process: Process, phone: MqttPhone
) -> None:
    async with receiving(process) as old, receiving(process):
        await eventually(lambda: not old._client.is_connected())
        phone.locate(SECONDS, HERE)
        await eventually(lambda: process.recorder.stored)
        assert not old._client.is_connected()
    assert process.pipeline.accepted == 1


@pytest.mark.parametrize("error", [False, True])
async def test_a_connection_that_fails_at_once_is_followed_by_the_next_one(
    process: Process, phone: MqttPhone, monkeypatch: pytest.MonkeyPatch, error: bool
) -> None:
    connect = Connection._connect

    async def fail(connection: Connection) -> bool:
        monkeypatch.undo()
        assert await connect(connection)
        sock = connection._client.socket()
        assert isinstance(sock, socket.socket)
        # As if the broker had closed it; acks of a batch come before its first read.
        sock.shutdown(socket.SHUT_RDWR)
        connection.transfer()
        if error:
            raise RuntimeError
        return True

    monkeypatch.setattr(Connection, "_connect", fail)
    async with receiving(process) as receiver:
        phone.locate(SECONDS, HERE)
        await eventually(lambda: receiver.acked)


async def test_an_error_in_a_callback_ends_only_its_connection(
    process: Process, phone: MqttPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        monkeypatch.undo()
        raise RuntimeError

    async with receiving(process) as receiver:
        monkeypatch.setattr(receiver._client, "on_message", fail)
        phone.locate(SECONDS, HERE)
        await eventually(lambda: receiver.acked)


async def test_metrics_show_the_broker(
    process: Process, phone: MqttPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def shown() -> set[str]:
        text = (await AsyncClient().get("/metrics")).content.decode()
        return {line for line in text.splitlines() if line.startswith("spectate_mqtt_")}

    assert await shown() == set()
    async with receiving(process) as receiver:
        monkeypatch.setattr(process, "sources", [receiver])
        phone.locate(SECONDS, HERE)
        phone.locate(SECONDS + 90_000_000, HERE)
        await eventually(lambda: receiver.acked >= 2)
        assert await shown() == {
            "spectate_mqtt_connected 1.0",
            "spectate_mqtt_messages_total 2.0",
            'spectate_mqtt_refused_total{reason="position.future"} 1.0',
        }
    assert "spectate_mqtt_connected 0.0" in await shown()


def test_the_doctor_logs_in_to_the_broker(
    settings: Settings, broker: Mosquitto
) -> None:
    assert [*check_broker()] == [f"127.0.0.1:{broker.port} accepts this server"]
    settings.SPECTATE_MQTT_URL = ""
    assert [*check_broker()] == ["none: SPECTATE_MQTT_URL is not set"]


def test_the_doctor_distinguishes_a_wrong_password_from_an_unreachable_broker(
    settings: Settings, broker: Mosquitto
) -> None:
    settings.SPECTATE_MQTT_URL = broker.url.replace(broker.password, "wrong")
    with pytest.raises(Problem, match=r"refuses this server: Not authorized\. Are"):
        [*check_broker()]
    settings.SPECTATE_MQTT_URL = f"mqtt://127.0.0.1:{free_port()}"
    with pytest.raises(Problem, match=r"cannot be reached: .*refused\. Is it running"):
        [*check_broker()]


class DyingBroker:
    """A broker that accepts one client, sends it messages and dies at once."""

    def __init__(self, messages: Iterable[tuple[str, bytes]]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"
        accepted = b"\x20\x03\x00\x00\x00"
        self._packets = accepted + b"".join(starmap(publish_packet, messages))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._thread.join()

    def _serve(self) -> None:
        with self._listener, self._listener.accept()[0] as client:
            client.recv(1024)
            client.sendall(self._packets)
            # As of a process that is killed with unread acks: the connection is reset.
            client.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )


def publish_packet(topic: str, payload: bytes, properties: bytes = b"") -> bytes:
    """Return a PUBLISH of MQTT 5 with QoS 1 and the id 1."""
    head = struct.pack("!H", len(topic)) + topic.encode() + b"\x00\x01"
    body = head + bytes([len(properties)]) + properties + payload
    length = bytes([len(body) % 128 | 128, len(body) // 128])
    return b"\x32" + length + body


def connect_packet(user: str, password: str) -> bytes:
    """Return a CONNECT of MQTT 5 with a name and a password."""
    texts = ("", user, password)
    body = b"\0\4MQTT\5\xc2\0\0\0" + b"".join(
        struct.pack("!H", len(text)) + text.encode() for text in texts
    )
    return bytes([0x10, len(body)]) + body


async def test_what_a_broker_has_sent_before_it_died_is_stored(
    process: Process, settings: Settings
) -> None:
    topic = f"owntracks/phones/{await database.work(make_phone, 'bob')}"
    lat, lng = HERE
    messages = [
        (topic, json.dumps({"_type": "location", "tst": t, "lat": lat, "lon": lng}))
        for t in range(SECONDS, SECONDS + 20)
    ]
    with DyingBroker((topic, text.encode()) for topic, text in messages) as broker:
        settings.SPECTATE_MQTT_URL = broker.url
        source = Mqtt(process)
        source.start()
        try:
            await eventually(lambda: process.recorder.stored >= 20)
        finally:
            await source.close()
    assert len(await stored()) == 20


@pytest.fixture
def many_files() -> Iterator[None]:
    """Open so many files that the next descriptor is above those of select()."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(before[0], min(4096, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, before[1]))
    with contextlib.ExitStack() as files:
        while files.enter_context(open(os.devnull)).fileno() < 1024:
            pass
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_process_with_more_than_a_thousand_sockets_receives_messages(
    process: Process, phone: MqttPhone, many_files: None
) -> None:
    async with receiving(process) as receiver:
        phone.locate(SECONDS, HERE)
        await eventually(lambda: receiver.acked)
    assert [t for t, *_ in await stored()] == [MS]
