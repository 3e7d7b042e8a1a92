"""Sockets over a limit, and invalid messages."""

from __future__ import annotations

import contextlib
import socket

from tests.api.scenarios.context import Context, Scenario


async def open_too_many(context: Context) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                context.joined("typed", context.tokens["full"])
            )
            for _ in range(3)
        ]
        await clients[-1].receive_until_close(4429)


async def send_nothing(context: Context) -> None:
    async with context.joined("typed") as client:
        await client.receive_until_close(4408)


async def send_invalid_messages(context: Context) -> None:
    async with context.joined("typed") as client:
        await client.send_raw("[")
        await client.send_raw(b"binary")
        await client.receive_until_close(4400)
    async with context.joined("typed") as client:
        await client.send_invalid(type="ping", pad="x" * 65_536)
        await client.receive_until_close(1009)
    async with context.joined("typed") as client:
        await client.connection.send(b"\xff", text=True)
        await client.receive_until_close(1007)
    async with context.joined("typed") as client:
        # A masked frame with an unknown opcode.
        client.connection.transport.write(b"\x83\x80\0\0\0\0")
        await client.receive_until_close(1002)


async def read_nothing(context: Context) -> None:
    async with context.joined("typed") as client:
        transport = client.connection.transport
        # Otherwise the kernel would buffer megabytes.
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
        )
        transport.pause_reading()
        # Each reply has the same size, so that replies fill all buffers.
        for _ in range(100):
            await client.send_invalid(type="ping", pad="x" * 60_000)
        transport.resume_reading()
        await client.receive_until_close(4413)


SCENARIOS: tuple[Scenario, ...] = (
    open_too_many,
    send_nothing,
    send_invalid_messages,
    read_nothing,
)
