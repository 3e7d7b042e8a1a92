"""Pings, and the end of sockets that do not answer them."""

from __future__ import annotations

import asyncio
import struct
from typing import Any
from unittest.mock import patch

import pytest

from runners.live.keepalive import keepalive_of
from tests.live.connections import Transport, connected
from tests.virtual_time import virtual_time
from tests.waiting import eventually
from tests.websocket import PONG, TEXT, frame


def pings(transport: Transport) -> list[bytes]:
    """Return the contents of the pings that were written since the last call."""
    written, transport.written = transport.written, b""
    found = [written[at : at + 6] for at in range(0, len(written), 6)]
    assert all(each.startswith(b"\x89\x04") for each in found)
    return [each[2:] for each in found]


@virtual_time
async def test_a_ping_and_its_pong_allocate_no_parser() -> None:
    """One takes 2.8 KiB, for each spectator."""
    async with connected() as (protocol, transport, messages):
        messages.may_read.set()
        await asyncio.sleep(20.1)
        (payload,) = pings(transport)
        # Of no ping, cut in two, and with texts around it.
        protocol.data_received(frame(b"", PONG) + frame(b"a")[:5])
        assert protocol.pending_ping_payload == payload
        protocol.data_received(frame(b"a")[5:] + frame(payload, PONG) + frame(b"b"))
        assert protocol.pending_ping_payload is None
        await eventually(lambda: len(messages.received) == 3)
        assert [each.get("text") for each in messages.received] == [None, "a", "b"]
        assert protocol._conn is None


@pytest.mark.parametrize("in_message", [False, True])
@pytest.mark.parametrize("timeout_s", [5, 20, 60, None])
@virtual_time
async def test_sockets_that_answer_are_pinged_in_each_interval(
    timeout_s: float | None, in_message: bool
) -> None:
    """Also within a message of several frames, which websockets' parser reads."""
    async with connected(ws_ping_timeout=timeout_s) as (protocol, transport, _):
        protocol.data_received(frame(b"a", TEXT, fin=False) if in_message else b"")
        seen = set()
        await asyncio.sleep(0.1)
        for _ in range(3):
            await asyncio.sleep(19.8)
            assert not pings(transport)
            await asyncio.sleep(0.2)
            (payload,) = pings(transport)
            seen.add(payload)
            protocol.data_received(frame(payload, PONG))
            assert protocol.pending_ping_payload is None
        assert len(seen) == 3 and not transport.closed


@pytest.mark.parametrize("timeout_s", [5, 20, 60])
@virtual_time
async def test_sockets_that_do_not_answer_are_closed(timeout_s: float) -> None:
    async with connected(ws_ping_timeout=timeout_s) as (protocol, transport, _):
        await asyncio.sleep(20.1)
        assert len(pings(transport)) == 1
        protocol.data_received(frame(b"else", PONG))
        await asyncio.sleep(timeout_s - 0.2)
        assert not pings(transport) and not transport.closed
        await asyncio.sleep(0.2)
        content = struct.pack("!H", 1011) + b"keepalive ping timeout"
        assert transport.written == bytes((0x88, len(content))) + content
        assert transport.closed


@virtual_time
async def test_a_late_answer_is_followed_by_the_next_ping() -> None:
    async with connected(ws_ping_timeout=60) as (protocol, transport, _):
        await asyncio.sleep(70)
        (payload,) = pings(transport)
        protocol.data_received(frame(payload, PONG))
        await asyncio.sleep(1.1)
        assert len(pings(transport)) == 1


@virtual_time
async def test_without_a_timeout_pings_wait_for_no_answer() -> None:
    async with connected(ws_ping_timeout=None) as (_, transport, _):
        await asyncio.sleep(60.1)
        assert len(pings(transport)) == 3


@virtual_time
async def test_an_error_of_one_socket_does_not_end_the_pings_of_others() -> None:
    errors: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, each: errors.append(each))
    async with connected() as (_, broken, _), connected() as (other, transport, _):
        with patch.object(broken, "write", side_effect=OSError):
            await asyncio.sleep(20.3)
        (payload,) = pings(transport)
        other.data_received(frame(payload, PONG))
        await asyncio.sleep(20)
        assert len(pings(transport)) == 1 and len(errors) == 1


@virtual_time
async def test_closed_sockets_are_not_pinged_and_leave_no_timer() -> None:
    async with connected() as (protocol, transport, _):
        protocol.close_with(1000, "")
        transport.written = b""
        await asyncio.sleep(20.5)
        assert not transport.written
    await asyncio.sleep(20.5)
    # The default times of uvicorn.
    assert keepalive_of(protocol.loop, 20, 20)._timer is None
