"""A lifespan, limits and a time-out that the `daphne` command has no options for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from runners.live.close_codes import TOO_FAST
from runners.live.plain_frames import MAX_CONTROL_BYTES
from runners.live.server import CONTROL_PERIOD_S, MAX_CONTROL_FRAMES
from runners.positions.rate_limits import Bucket
from runners.serving import process
from runners.serving.admission import connection_limit
from runners.serving.bodies import BODY_TIMEOUT_S, UPLOAD_LIMIT_BYTES

# Autobahn's default is 1 s, after which it resets the connection. A slower client, such
# as a phone that wakes up, may then not receive the close code.
CLOSE_TIMEOUT_S = 10
# The opcode of a message's later fragments.
CONTINUATION = 0
# Notifies a session that its socket was dropped for a flood of frames.
FLOODED = {"type": "websocket.disconnect", "code": TOO_FAST, "flood": True}
TOO_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n"
    b"content-type: text/plain\r\n\r\nThe request took too long.\n"
)


def prepare_daphne() -> None:
    """Start and stop the services with Daphne, and set its limits.

    Does nothing under other servers, which do not import Daphne's protocol.
    """
    if protocol := sys.modules.get("daphne.ws_protocol"):
        # Autobahn prefers an attribute of the protocol to the factory's option.
        protocol.WebSocketProtocol.closeHandshakeTimeout = CLOSE_TIMEOUT_S
        limit_frames(protocol.WebSocketProtocol)
        limit_requests(sys.modules["daphne.http_protocol"])
        from twisted.internet import reactor
        from twisted.internet.defer import Deferred

        def run(step: Callable[[], Coroutine[Any, Any, None]]) -> Deferred[None]:
            return Deferred.fromFuture(asyncio.ensure_future(step()))

        # Daphne has no lifespan. Its reactor runs on asyncio.
        triggers: Any = reactor
        triggers.addSystemEventTrigger("before", "startup", run, process.start)
        triggers.addSystemEventTrigger("before", "shutdown", run, process.stop)


def limit_frames(protocol: Any) -> None:
    """Drop sockets that send a flood of frames which reach no session.

    Pings, pongs and small fragments: no rate of messages limits them.
    """

    def limited(handle: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def counted(socket: Any, content: Any) -> None:
            if not hasattr(socket, "control_frames"):
                socket.control_frames = Bucket(
                    MAX_CONTROL_FRAMES / CONTROL_PERIOD_S, MAX_CONTROL_FRAMES
                )
            if socket.control_frames.take(1):
                # Before Daphne's own, which has no reason.
                socket.application_queue.put_nowait(FLOODED)
                socket.dropConnection(abort=True)
            else:
                handle(socket, content)

        return counted

    begin_frame = protocol.onMessageFrameBegin
    begin_fragment = limited(begin_frame)

    def on_message_frame_begin(socket: Any, length: int) -> None:
        is_fragment = socket.current_frame.opcode == CONTINUATION
        is_counted = is_fragment and length <= MAX_CONTROL_BYTES
        (begin_fragment if is_counted else begin_frame)(socket, length)

    protocol.onPing = limited(protocol.onPing)
    protocol.onPong = limited(protocol.onPong)
    protocol.onMessageFrameBegin = on_message_frame_begin


def limit_requests(http: Any) -> None:
    """Limit the bodies and the plain connections of Daphne's module for HTTP."""
    open_channels: set[Any] = set()
    http.WebRequest = limited_request(http.WebRequest, open_channels)
    http.HTTPFactory = limited_factory(http.HTTPFactory, open_channels)
    server: Any = sys.modules.get("daphne.server")
    if server is not None:
        server.HTTPFactory = http.HTTPFactory


def limited_request(base: Any, open_channels: set[Any]) -> Any:
    """Return Daphne's class of requests with limits on the size and time of a body.

    Twisted stores a body before the application runs. `bodies.py` refuses those that
    are stored completely and too long for their path.
    """

    class Request(base):  # type: ignore[misc]
        timer: Any = None

        def gotLength(self, length: int | None) -> None:
            super().gotLength(length)
            self.received = 0
            self.timer = self.channel.callLater(BODY_TIMEOUT_S, self.refuse_late)

        def handleContentChunk(self, data: bytes) -> None:
            self.received += len(data)
            if self.received <= UPLOAD_LIMIT_BYTES:
                super().handleContentChunk(data)

        def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
            # Twisted would parse forms itself, and answer 400 without a word to those
            # that it does not understand.
            self.types = self.requestHeaders.getRawHeaders(b"content-type", [])
            self.requestHeaders.removeHeader(b"content-type")
            super().requestReceived(command, path, version)

        def process(self) -> Any:
            self.stop_timer()
            self.requestHeaders.setRawHeaders(b"content-type", self.types)
            if self.received > UPLOAD_LIMIT_BYTES:
                most = f"A request has {UPLOAD_LIMIT_BYTES >> 20} MiB at most."
                return self.basic_error(413, b"Content Too Large", most)
            upgrade = self.requestHeaders.getRawHeaders(b"upgrade", [b""])[0]
            if upgrade.lower() == b"websocket":
                open_channels.discard(self.channel)
            return super().process()

        def connectionLost(self, reason: Any) -> None:
            self.stop_timer()
            super().connectionLost(reason)

        def refuse_late(self) -> None:
            self.channel.transport.write(TOO_LATE)
            self.channel.loseConnection()

        def stop_timer(self) -> None:
            if self.timer is not None and self.timer.active():
                self.timer.cancel()

    return Request


def limited_factory(base: Any, open_channels: set[Any]) -> Any:
    """Return Daphne's class of factories with a limit on plain connections."""

    class Factory(base):  # type: ignore[misc]
        def buildProtocol(self, addr: Any) -> Any:
            if len(open_channels) >= connection_limit():
                return None
            protocol = super().buildProtocol(addr)
            channel = protocol._channel
            end_channel = channel.connectionLost

            def connection_lost(reason: Any) -> None:
                open_channels.discard(channel)
                end_channel(reason)

            channel.connectionLost = connection_lost
            open_channels.add(channel)
            return protocol

    return Factory
