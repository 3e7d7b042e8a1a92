"""The application receives the same messages for any split of a client's bytes."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import pytest

from runners.live.inbox import INBOX_LIMIT
from runners.live.plain_frames import SMALL_BYTES
from runners.live.server import FrameProtocol
from runners.live.socket_writer import EXTENSION
from tests.live.connections import HANDSHAKE, connect
from tests.waiting import eventually
from tests.websocket import BINARY, CLOSE, PING, TEXT, frame

SIZES = [
    0,
    1,
    2,
    124,
    125,
    126,
    127,
    128,
    SMALL_BYTES - 1,
    SMALL_BYTES,
    SMALL_BYTES + 1,
    70_000,
]


async def connected_protocol(
    received: list[Any],
    *,
    reads: bool = True,
    takes: bool = False,
    calls: bool = False,
) -> FrameProtocol:
    """Return a protocol whose handshake is complete.

    Its application `takes` the texts behind each message without waiting, and has texts
    of an even length handled by `calls`.
    """

    def handle(texts: Sequence[str]) -> int:
        handled = list(takewhile(lambda text: len(text) % 2 == 0, texts))
        received.extend(handled)
        return len(handled)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if calls:
            scope["extensions"][EXTENSION].on_texts = handle
        while reads:
            message = await receive()
            received.append(message.get("text") or message.get("bytes") or "")
            if message["type"] == "websocket.disconnect":
                received[-1] = message["code"]
                return
            if takes:
                received.extend(scope["extensions"][EXTENSION].take_texts())
        await asyncio.Event().wait()

    transport, _ = connect(application, HANDSHAKE + b"\r\n")
    await eventually(lambda: transport.written)
    assert isinstance(transport.protocol, FrameProtocol)
    return transport.protocol


@pytest.mark.parametrize("calls", [False, True])
@pytest.mark.parametrize("takes", [False, True])
@pytest.mark.parametrize("seed", range(20))
async def test_split_reads_do_not_change_messages(
    seed: int, takes: bool, calls: bool
) -> None:
    random_ = random.Random(seed)
    stream = b""
    sent: list[object] = []
    for _ in range(random_.randrange(1, 20)):
        kind = random_.choice([TEXT, TEXT, TEXT, TEXT, BINARY, PING, 0])
        size = random_.choice(SIZES)
        text = random_.choice(["x" * size, "é" * (size // 2)])
        if kind == TEXT:
            sent.append(text)
            stream += frame(text.encode())
        elif kind == BINARY:
            sent.append(text.encode() or "")
            stream += frame(text.encode(), BINARY)
        elif kind == PING:
            stream += frame(b"are you there?", PING)
        else:
            sent.append("in two pieces")
            stream += frame(b"in two ", TEXT, fin=False) + frame(b"pieces", 0)
    stream += frame(struct.pack("!H", 1000), CLOSE)
    received: list[object] = []
    protocol = await connected_protocol(received, takes=takes, calls=calls)

    while stream:
        cut = random_.choice([1, 2, 7, 100, 3_000, 80_000])
        protocol.data_received(stream[:cut])
        stream = stream[cut:]
        if random_.random() < 0.2:
            await asyncio.sleep(0)
    await eventually(lambda: 1000 in received)

    assert received == [*sent, 1000]
    protocol.connection_lost(None)


async def test_plain_frames_bypass_the_parser_of_websockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    received: list[object] = []
    protocol = await connected_protocol(received)
    monkeypatch.setattr(protocol.conn, "receive_data", None)

    stream = frame(b"{}") + frame(b"x" * 200)
    protocol.data_received(stream[:3])
    protocol.data_received(stream[3:])
    await eventually(lambda: len(received) == 2)

    assert received == ["{}", "x" * 200]
    monkeypatch.undo()
    protocol.connection_lost(None)


async def test_texts_are_handled_while_the_application_waits_for_them() -> None:
    received: list[object] = []
    protocol = await connected_protocol(received, calls=True)

    protocol.data_received(frame(b"{}") * 3 + frame(b"odd"))
    assert received == ["{}"] * 3
    # Now the application has a message to receive first.
    protocol.data_received(frame(b"{}"))
    assert received == ["{}"] * 3
    await eventually(lambda: len(received) == 5)

    assert received[3:] == ["odd", "{}"]
    protocol.connection_lost(None)


async def test_reading_pauses_while_the_inbox_is_full() -> None:
    protocol = await connected_protocol([], reads=False)

    protocol.data_received(frame(b"{}") * (INBOX_LIMIT - 1))
    paused_before = protocol.read_paused
    protocol.data_received(frame(b"{}"))

    assert (paused_before, protocol.read_paused) == (False, True)
    assert len(protocol.writer.take_texts()) == INBOX_LIMIT
    waiting = asyncio.create_task(protocol.receive())
    await eventually(lambda: not protocol.read_paused)
    waiting.cancel()
    for task in protocol.tasks:
        task.cancel()
