"""The sockets of the workload `fanout`, by dialect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport

if TYPE_CHECKING:
    from bench.fanout import Fanout

TEXT = WSMsgType.TEXT
# The longitude identifies a publication: lng = 10 + number / 1e5. The typed dialect
# sends only these five decimals.
LNG_OFFSET = 1_000_000


class Listener(WSListener):
    """A socket of the load generator. The base class only publishes."""

    transport: WSTransport

    def __init__(self, load: Fanout) -> None:
        self.load = load

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == TEXT:
            self.load.errors += 1  # A publisher receives no other message.

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.load.closed += 1


class Spectator(Listener):
    def __init__(self, load: Fanout, followed: list[int]) -> None:
        super().__init__(load)
        self.followed = followed
        # The server may refuse sockets if all connect at the same time.
        self.follows = False
        # The number that arrived last from each followed runner.
        self.last = dict.fromkeys(followed, -1)

    def ids(self) -> list[int]:
        return [self.load.options.first_id + runner for runner in self.followed]

    def follow(self) -> None:
        raise NotImplementedError

    def strange(self, number: int) -> None:
        """Count a delivery that is not the next one of its runner."""
        if number % self.load.runners in self.last:
            self.load.disordered += 1
        else:
            self.load.misrouted += 1


class SeedSpectator(Spectator):
    def follow(self) -> None:
        request = orjson.dumps(
            {"initialRequest": True, "following": self.ids(), "userId": 0}
        )
        self.transport.send(TEXT, self.load.dialect.packed("follow", request))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # The hot path: all followers of a runner get the same bytes, so that only the
        # first copy needs parsing.
        load = self.load
        payload = frame.get_payload_as_bytes()
        number = load.numbers.get(payload)
        if number is None:
            if frame.msg_type != TEXT:
                return
            number = load.number_of(payload)
            if number < 0:
                self.follows = False
                return
        load.received += 1
        runner = number % load.runners
        if self.last.get(runner, number) < number:
            self.last[runner] = number
        else:
            self.strange(number)
        if load.timed_from is not None:
            load.timed(number)
        elif frame.last_in_buffer:
            load.refill()


class TypedSpectator(Spectator):
    def follow(self) -> None:
        self.transport.send(
            TEXT,
            orjson.dumps(
                {
                    "type": "follow",
                    "runners": [str(each) for each in self.ids()],
                    "tick": self.load.options.tick,
                }
            ),
        )

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != TEXT:
            return
        load = self.load
        message = orjson.loads(frame.get_payload_as_bytes())
        if message["type"] == "positions":
            load.merged += message.get("merged", 0)
            for code, _, _, lng, *_ in message["fixes"]:
                number = round(lng * 1e5) - LNG_OFFSET
                load.received += 1
                runner = int(code) - load.options.first_id
                if number % load.runners != runner or (
                    self.last.get(runner, number) >= number
                ):
                    self.strange(number)
                else:
                    self.last[runner] = number
                load.timed(number)
            load.refill()
        elif message["type"] == "error":
            load.errors += 1
            self.follows = False


class SocketIoPublisher(Listener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if not answer_engine(transport, frame):
            super().on_ws_frame(transport, frame)


class SocketIoSpectator(SeedSpectator):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if not answer_engine(transport, frame):
            super().on_ws_frame(transport, frame)


def answer_engine(transport: WSTransport, frame: WSFrame) -> bool:
    """Answer Engine.io's own packets. Return False for other packets."""
    payload = frame.get_payload_as_bytes()
    if payload.startswith(b"42"):
        return False
    if payload.startswith(b"0"):
        transport.send(TEXT, b"40")
    elif payload == b"2":
        transport.send(TEXT, b"3")
    return True


@dataclass(frozen=True)
class Dialect:
    """The transport of messages: `packet` encodes an event's name and its object."""

    publisher: type[Listener]
    spectator: type[Spectator]
    headers: dict[str, str]
    packet: bytes = b""
    # Seconds until the server has greeted all sockets.
    greeting: float = 0.0

    def packed(self, event: str, message: bytes) -> bytes:
        return self.packet % (event.encode(), message) if self.packet else message

    def unpacked(self, payload: bytes) -> bytes:
        return payload[payload.index(b",") + 1 : -1] if self.packet else payload


DIALECTS = {
    "seed": Dialect(Listener, SeedSpectator, {}),
    "v1": Dialect(Listener, TypedSpectator, {"Sec-WebSocket-Protocol": "spectate.v1"}),
    "socketio": Dialect(
        SocketIoPublisher, SocketIoSpectator, {}, b'42["%b",%b]', greeting=1.0
    ),
}
