"""Memory of a connection: little while it is open, and free at once after its end."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any

import pytest

from runners.consumers import speak
from runners.live.server import FrameProtocol
from runners.serving.process import Process
from runners.subscriptions import topic_snapshots
from runners.subscriptions.topic import TopicName
from tests.live.connections import HANDSHAKE, Transport, accept, connect
from tests.waiting import eventually
from tests.websocket import frame


async def test_sockets_share_the_keys_of_their_attributes() -> None:
    transport, state = connect(accept, HANDSHAKE + b"\r\n")
    await asyncio.gather(*state.tasks)
    # Python's limit, SHARED_KEYS_MAX_SIZE.
    assert len(vars(transport.protocol)) <= 30
    transport.protocol.connection_lost(None)


@pytest.mark.parametrize("more", [b"", b"X-Twice: 1\r\nX-Twice: 2\r\n"])
async def test_a_websocket_leaves_no_cycle_of_its_http_connection(more: bytes) -> None:
    """Memory that only a collection frees is cold when it is used again."""
    transport, state = connect(accept, HANDSHAKE + more + b"\r\n")
    assert transport.http is not None
    assert transport.http() is None
    await asyncio.gather(*state.tasks)
    transport.protocol.connection_lost(None)


@pytest.mark.parametrize("more", [b"", b"X-Twice: 1\r\nX-Twice: 2\r\n"])
@pytest.mark.parametrize("changed", [False, True])
async def test_a_visitor_who_vanishes_is_freed_without_a_collection(
    process: Process, monkeypatch: pytest.MonkeyPatch, more: bytes, changed: bool
) -> None:
    # Longer than this test waits, and the other one stays: the backfill is pending.
    monkeypatch.setattr(topic_snapshots, "SNAPSHOT_MAX_AGE_S", 3_600)
    other = await follow_public(more)
    stays = set(process.access_monitor.sockets)
    transport = await follow_public(more)
    if changed:
        # As after a change of rights.
        process.topics.of(TopicName()).snapshots.discard()
    gc.disable()
    try:
        (session,) = process.access_monitor.sockets - stays
        # As with a link that ends.
        session.recheck_at = time.time() + 3_600
        left: list[weakref.ref[Any]] = [
            weakref.ref(transport.protocol),
            weakref.ref(session),
        ]
        del session
        transport.protocol.connection_lost(ConnectionResetError())
        del transport.protocol
        await eventually(lambda: [each() for each in left] == [None, None])
    finally:
        gc.enable()
    other.protocol.connection_lost(None)


async def follow_public(more: bytes) -> Transport:
    """Connect, and wait for the snapshot of everybody public."""
    request = HANDSHAKE.replace(b"?token=a%20b", b"") + more + b"\r\n"
    transport, _ = connect(speak, request)
    await eventually(lambda: b"welcome" in transport.written)
    # One with the response to the handshake, unless websockets parses the request.
    assert transport.writes == (2 if more else 1)
    assert isinstance(transport.protocol, FrameProtocol)
    transport.protocol.data_received(frame(b'{"type":"follow","public":true}'))
    await eventually(lambda: b"snapshot" in transport.written)
    return transport
