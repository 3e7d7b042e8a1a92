"""OwnTracks in MQTT mode, through a broker of the operator's choice (docs/mqtt.md).

A phone publishes to owntracks/USER/TOKEN: the token, as its device id, says who it is.
Each message is acked after the commit of its position, and the session at the broker
outlives this process: what was published while nobody received it comes afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from django.conf import settings
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from runners.intake.app import Reading, Report
from runners.intake.delivery import (
    TryLater,
    deliver,
    find_bearer,
    record_ended,
    refuse_overload,
)
from runners.intake.mqtt_connection import (
    FIRST_RECONNECT_S,
    MAX_RECONNECT_S,
    Connection,
    Subscriber,
)
from runners.intake.owntracks import OWNTRACKS
from runners.serving.process import Process
from runners.units.clock import now_ms

logger = logging.getLogger(__name__)

# Not those below it, such as the names of phones in owntracks/USER/TOKEN/info.
TOPIC = "owntracks/+/+"
PORTS = {"mqtt": 1883, "mqtts": 8883}
# How long a broker keeps messages for a server that is away.
SESSION_S = 7 * 86_400
# Messages that may wait for their commit: a broker sends no more without acks. Those of
# QoS 0, which have no ack, are dropped above it.
WINDOW = 500
# A broker drops larger messages.
MESSAGE_LIMIT_BYTES = 64 * 1024
KEEPALIVE_S = 30
# Limit of an attempt to connect. A stop may have to wait for it.
CONNECT_TIMEOUT_S = 3.0
# Another process has taken the session over: the next one of a rolling restart.
TAKEN_OVER = 142


class Message(NamedTuple):
    """A message as it arrived, and the number of the connection that it came by."""

    topic: str
    payload: bytes
    is_retained: bool
    mid: int
    qos: int
    connection: int


def broker_address() -> tuple[str, int]:
    """Return the host and the port of the broker."""
    url = urlsplit(settings.SPECTATE_MQTT_URL)
    assert url.hostname is not None  # The settings have checked it.
    return url.hostname, url.port or PORTS[url.scheme]


def new_client(client_id: str) -> Subscriber:
    """Return a client with the account of this server at the broker."""
    url = urlsplit(settings.SPECTATE_MQTT_URL)
    client = Subscriber(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        manual_ack=True,
    )
    if url.scheme == "mqtts":
        client.tls_set_context(ssl.create_default_context())
    if url.username:
        client.username_pw_set(unquote(url.username), unquote(url.password or ""))
    client.connect_timeout = CONNECT_TIMEOUT_S
    return client


class Mqtt:
    """Receives messages of a broker and stores them."""

    name = "mqtt"

    def __init__(self, process: Process) -> None:
        self._process = process
        self._waiting: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        # Incremented when a connection ends: ids of messages are valid for one.
        self._connections = 0
        self._last_warning = ""
        self._client = self._new_client()
        self._connection = Connection(self._client, self._warn_unreachable)
        # For the metrics.
        self.taken = 0
        self.refused: Counter[str] = Counter()

    @property
    def connected(self) -> bool:
        """Return whether the broker has accepted this server."""
        return self._client.is_connected()

    def _new_client(self) -> Subscriber:
        client = new_client(f"spectate-{urlsplit(settings.PUBLIC_URL).hostname}")
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.connect_async(
            *broker_address(), KEEPALIVE_S, clean_start=False, properties=_session()
        )
        return client

    def start(self) -> None:
        """Connect, now or as soon as the broker is reachable, and subscribe."""
        self._task = asyncio.create_task(self._run())
        self._connection.start()

    async def close(self) -> None:
        """Disconnect; the broker sends again what is not acked."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._connection.close()

    # -- called by paho

    def _on_connect(
        self,
        client: Client,
        userdata: Any,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._warn(f"The MQTT broker refuses this server: {reason}")
            return
        self._connection.delay_s = FIRST_RECONNECT_S
        # Retained messages come with a new subscription only.
        options = SubscribeOptions(
            qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
        )
        client.subscribe(TOPIC, options=options)
        self._last_warning = ""
        logger.info("Receiving positions by MQTT")

    def _on_disconnect(
        self,
        client: Client,
        userdata: Any,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._connections += 1
        if reason.is_failure and not self._last_warning:
            self._warn(f"The connection to the MQTT broker has ended: {reason}")
        if reason.value == TAKEN_OVER:
            # This process will have ended by then.
            self._connection.delay_s = MAX_RECONNECT_S

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        self.taken += 1
        received = Message(
            *(message.topic, bytes(message.payload), message.retain),
            *(message.mid, message.qos, self._connections),
        )
        if message.qos or self._waiting.qsize() < WINDOW:
            self._waiting.put_nowait(received)
        else:
            self._process.pipeline.refused["rate.limited"] += 1
            self.refused["rate.limited"] += 1

    def _warn_unreachable(self) -> None:
        self._warn(
            "The MQTT broker is not reachable, or its certificate is not valid here; "
            "trying again"
        )

    def _warn(self, text: str) -> None:
        """Log a warning, unless it repeats the last one."""
        if text != self._last_warning:
            logger.warning("%s", text)
        self._last_warning = text

    # -- a message

    async def _run(self) -> None:
        """Store messages in batches, and ack them in the order of their arrival."""
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            await asyncio.gather(*(self._store(message) for message in batch))
            for message in batch:
                self._ack(message)
            self._connection.transfer()

    async def _store(self, message: Message) -> None:
        """Store a message, however long the database is unavailable.

        That of a connection that has ended is tried once: a broker that was killed may
        have lost it, any other one sends it again.
        """
        while True:
            try:
                return await self._deliver(message)
            except TryLater as error:
                # Waiting for a rate would delay all other phones.
                is_limited = error.code == "rate.limited"
                if is_limited:
                    self.refused[error.code] += 1
                if is_limited or message.connection != self._connections:
                    return
                await asyncio.sleep(error.after)
            except Exception:
                logger.exception("A message of MQTT could not be handled")
                return

    async def _deliver(self, message: Message) -> None:
        """Store a message; raises `TryLater`."""
        refuse_overload(self._process)
        bearer = await find_bearer(self._process, message.topic.rpartition("/")[2])
        if bearer is None:
            self._process.pipeline.refused["token.invalid"] += 1
            self.refused["token.invalid"] += 1
        elif not bearer.usable:
            record_ended(self._process, bearer)
            self.refused["token.ended"] += 1
        else:
            outcome = await deliver(
                self._process, "owntracks", bearer, lambda: _read(message)
            )
            self.refused.update(code for _, code, _ in outcome.rejected)

    def _ack(self, message: Message) -> None:
        # An id of an ended connection may mean a different message in the next one.
        # Acks that are queued when a connection ends are discarded.
        if message.connection == self._connections:
            self._client.ack(message.mid, message.qos)


def _session() -> Properties:
    """Return what a broker is asked for in CONNECT."""
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = SESSION_S
    properties.ReceiveMaximum = WINDOW
    properties.MaximumPacketSize = MESSAGE_LIMIT_BYTES
    return properties


async def _read(message: Message) -> Reading:
    report = Report("POST", {}, "application/json", "", message.payload, now_ms())
    reading = OWNTRACKS.read(report)
    # A retained message is the last position of a phone that may be off for days; one
    # without a position may be the will that the broker publishes for it.
    reading.is_activity = bool(reading.fixes) and not message.is_retained
    return reading
