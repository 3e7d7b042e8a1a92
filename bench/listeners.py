"""The sockets of the workload `fanout`, by dialect."""

from __future__ import annotations

import orjson
from picows import WSFrame, WSTransport

from bench.fanout import LNG_OFFSET, TEXT, Dialect, Listener, Spectator


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


DIALECTS = {
    "seed": Dialect(Listener, SeedSpectator, {}),
    "v1": Dialect(Listener, TypedSpectator, {"Sec-WebSocket-Protocol": "spectate.v1"}),
    "socketio": Dialect(
        SocketIoPublisher, SocketIoSpectator, {}, b'42["%b",%b]', greeting=1.0
    ),
}
