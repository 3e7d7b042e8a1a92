"""A websocket that reconnects as the server's close codes require."""

from __future__ import annotations

import asyncio
import functools
import json
import random
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

Message = dict[str, Any]

NO_CLOSE_FRAME = 1006
# Reconnecting with the same credentials would only end the same way.
FINAL_CODES = {4400, 4401, 4403}
OVERLOAD_CODES = {1013, 4413, 4429}
OVERLOAD_ATTEMPTS = 4
MAX_BACKOFF_S = 30.0
# Until the server says how long it is.
DEFAULT_HEARTBEAT_S = 20.0
# The connection is lost after so many heartbeats without a frame.
SILENT_HEARTBEATS = 2.5
CLOSE_TIMEOUT_S = 1.0
# A part of a snapshot has about 256 KiB, but a race with a long course may be larger.
MAX_FRAME_BYTES = 16 << 20
# The request succeeds later; nothing of it was stored.
TEMPORARY_ERRORS = {"rate.limited", "store.unavailable", "server.error"}


class Ended(Exception):
    """The server refuses this client for good: the user has to act."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Connection(ABC):
    """Connects until `stop()` or until the server refuses it for good.

    Callbacks are attributes, called in the event loop. `options` are those of `connect`
    in the package websockets.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
        **options: Any,
    ) -> None:
        # The user has to act: `code`, `detail`. There will be no further attempt.
        self.on_ended: Callable[[str, str], object] = lambda code, detail: None
        # A part was refused for good: `code`, `detail`, and the code of the runner, the
        # slug of the race or the fixes.
        self.on_refused: Callable[[str, str, Any], object] = lambda *refusal: None
        # The network failed; a further attempt follows.
        self.on_failed: Callable[[Exception], object] = lambda error: None
        self.ended: Ended | None = None
        self._url = url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._sleep, self._random = sleep, random
        if url.startswith("wss:"):
            options.setdefault("ssl", _trusted())
        self._options = options
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        # There may be something to send.
        self._wake = asyncio.Event()
        self._heartbeat_s = DEFAULT_HEARTBEAT_S
        # Connections in a row on which no request was answered.
        self._attempts = 0
        # What the server said of this connection.
        self._reconnect_s: float | None = None
        self._last_error: Ended | None = None
        # The `after` of the last error, until a request is answered; and as long as
        # nothing has waited for it.
        self._after_s = self._hold_s = 0.0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Close the connection; do not reconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def wait(self) -> None:
        """Wait until `stop()`; raises `Ended`."""
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()
        if self.ended is not None:
            raise self.ended

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def _run(self) -> None:
        try:
            while True:
                self._reconnect_s = self._last_error = None
                code = await self._converse()
                await self._sleep(self._wait_after(code))
                self._attempts += 1
        except Ended as ended:
            self.ended = ended
            self.on_ended(ended.code, ended.detail)

    def _wait_after(self, code: int) -> float:
        """Return the seconds until the next attempt; raises `Ended`."""
        if code in FINAL_CODES:
            raise self._last_error or Ended("closed", f"The server closed with {code}.")
        if self._reconnect_s is not None:
            return self._reconnect_s
        if code in OVERLOAD_CODES:
            self._attempts = max(self._attempts, OVERLOAD_ATTEMPTS)
        backoff = min(2.0 ** min(self._attempts, 10), MAX_BACKOFF_S)
        return self._after_s + self._random() * backoff

    async def _converse(self) -> int:
        """Use one connection until it ends; return its close code."""
        try:
            async with connect(
                self._url,
                subprotocols=[Subprotocol("spectate.v1")],
                additional_headers=self._headers,
                max_size=MAX_FRAME_BYTES,
                close_timeout=CLOSE_TIMEOUT_S,
                **self._options,
            ) as socket:
                self._socket = socket
                self._hold_s = 0.0
                self._heartbeat_s = DEFAULT_HEARTBEAT_S
                self._opened()
                self._wake.set()
                sender = asyncio.create_task(self._send(socket))
                try:
                    await self._receive(socket)
                finally:
                    sender.cancel()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else NO_CLOSE_FRAME
        except (OSError, TimeoutError, WebSocketException) as error:
            if isinstance(error, InvalidStatus) and error.response.status_code == 403:
                body = (error.response.body or b"").decode(errors="replace")
                raise Ended("handshake.refused", body) from None
            self.on_failed(error)
        finally:
            self._socket = None
        return NO_CLOSE_FRAME

    async def _send(self, socket: ClientConnection) -> None:
        """Send what there is, but nothing before the `after` of an error."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._hold_s:
                    hold, self._hold_s = self._hold_s, 0.0
                    await self._sleep(hold)
                for message in self._outgoing():
                    await socket.send(json.dumps(message))
        except ConnectionClosed:
            pass  # `_receive` gets it too.

    async def _receive(self, socket: ClientConnection) -> None:
        while True:
            async with asyncio.timeout(self._heartbeat_s * SILENT_HEARTBEATS):
                message = json.loads(await socket.recv())
            match message["type"]:
                case "welcome":
                    self._heartbeat_s = message["heartbeat"]
                case "reconnect":
                    self._reconnect_s = message["after"] / 1000
                case "error":
                    self._last_error = Ended(message["code"], message["detail"])
            self._received(message)

    def _answered(self) -> None:
        """A request was answered: the next backoff starts from one second."""
        self._attempts = 0
        self._after_s = 0.0

    def _retry_later(self, error: Message) -> None:
        """Send again after the time that an error gives."""
        self._after_s = self._hold_s = error.get("after", 1000 * MAX_BACKOFF_S) / 1000
        self._wake.set()

    @abstractmethod
    def _opened(self) -> None:
        """Prepare what is to be sent on a new connection."""

    @abstractmethod
    def _outgoing(self) -> Iterator[Message]:
        """Return the messages to send now; a message counts as sent once it is read."""

    @abstractmethod
    def _received(self, message: Message) -> None:
        """Process a message and ignore unknown ones; raises `Ended`."""


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Return the certificates that this machine trusts: reading them takes 25 ms."""
    return ssl.create_default_context()
