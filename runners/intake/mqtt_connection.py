"""The connection to an MQTT broker, which the event loop reads and writes.

The thread of paho uses select(), which fails for descriptors above 1,023. It also
closes a socket whose broker has died when it fails to write to it, with messages that
it has received and not read: that broker has acked them to phones.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import VariableByteIntegers

logger = logging.getLogger(__name__)

# The delay before the next attempt to connect is doubled up to the second one.
FIRST_RECONNECT_S = 0.25
MAX_RECONNECT_S = 30.0
# How often keep-alives are checked.
TICK_S = 1.0
# Packets that are read before other work of the event loop.
PACKETS_AT_ONCE = 100


class Subscriber(Client):
    """A client of MQTT 5 that ignores the properties of messages.

    Phones choose them. paho closes the connection over one that it cannot parse, such
    as U+FEFF in a text, and the broker sends the message again in the next connection.
    """

    def _handle_publish(self) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        qos = self._in_packet["command"] >> 1 & 3
        start = 2 + int.from_bytes(packet[:2], "big") + (2 if qos else 0)
        length, size = VariableByteIntegers.decode(packet[start:])
        packet[start : start + size + length] = b"\0"
        return super()._handle_publish()

    def abort(self) -> None:
        """End the connection, as after an error of the protocol."""
        self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)


class Connection:
    """Keeps a client connected. Its callbacks are called in the event loop.

    `on_failure` is called after an attempt to connect that failed.
    """

    def __init__(self, client: Subscriber, on_failure: Callable[[], None]) -> None:
        self.delay_s = FIRST_RECONNECT_S
        self._client = client
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        # Cleared while the event loop uses the socket. The thread of an attempt to
        # connect may have made the next socket already.
        self._closed = asyncio.Event()
        self._closed.set()
        self._task: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[Any] | None = None
        # With this callback, paho leaves writing to `transfer`.
        client.on_socket_register_write = lambda *args: None
        client.on_socket_close = self._on_socket_close

    def start(self) -> None:
        """Connect now, or as soon as the broker is reachable."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Disconnect, after an attempt to connect that has begun."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._attempt is not None:
            await asyncio.gather(self._attempt, return_exceptions=True)
        self._client.disconnect()
        # The attempt may have made a socket that the loop does not use yet.
        self._closed.clear()
        self.transfer()

    def transfer(self) -> None:
        """Read what has arrived, and only then write what waits."""
        if self._closed.is_set():
            return
        try:
            self._read()
            self._write()
        except Exception:
            self._abort()

    def _write(self) -> None:
        if self._client.want_write():
            self._client.loop_write()
        sock = self._client.socket()
        if sock is None:
            return
        if self._client.want_write():
            self._loop.add_writer(sock.fileno(), self.transfer)
        else:
            self._loop.remove_writer(sock.fileno())

    async def _run(self) -> None:
        while True:
            try:
                if await self._connect():
                    await self._wait_until_closed()
            except Exception:
                self._abort()
            await asyncio.sleep(self.delay_s)
            self.delay_s = min(self.delay_s * 2, MAX_RECONNECT_S)

    async def _connect(self) -> bool:
        """Connect in a thread, as names, TCP and TLS may take seconds."""
        self._attempt = asyncio.ensure_future(asyncio.to_thread(self._client.reconnect))
        try:
            await asyncio.shield(self._attempt)
        except OSError:
            self._on_failure()
            return False
        return True

    async def _wait_until_closed(self) -> None:
        sock = self._client.socket()
        if sock is None:
            return
        self._closed.clear()
        self._loop.add_reader(sock.fileno(), self.transfer)
        self.transfer()
        while not self._closed.is_set():
            try:
                async with asyncio.timeout(TICK_S):
                    await self._closed.wait()
            except TimeoutError:
                self._client.loop_misc()
                self.transfer()

    def _read(self) -> None:
        for _ in range(PACKETS_AT_ONCE):
            sock = self._client.socket()
            if sock is None or not _has_input(sock):
                return
            self._client.loop_read()
        self._loop.call_soon(self.transfer)

    def _abort(self) -> None:
        logger.exception("The connection to the MQTT broker has failed")
        self._client.abort()

    def _on_socket_close(self, client: Client, userdata: Any, sock: Any) -> None:
        self._loop.remove_reader(sock.fileno())
        self._loop.remove_writer(sock.fileno())
        self._closed.set()


def _has_input(sock: Any) -> bool:
    """Return whether a socket can be read, or TLS has decrypted more than was read."""
    if hasattr(sock, "pending") and sock.pending():
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
