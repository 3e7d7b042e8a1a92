"""Sockets over a limit, and what is no message."""

from __future__ import annotations

import contextlib
import socket

from tests.api.scenes.stage import Scene, Stage


async def open_too_many(stage: Stage) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(stage.joined("typed", stage.tokens["full"]))
            for _ in range(3)
        ]
        await clients[-1].receive_until_close(4429)


async def say_nothing(stage: Stage) -> None:
    async with stage.joined("typed") as client:
        await client.receive_until_close(4408)


async def say_no_message(stage: Stage) -> None:
    async with stage.joined("typed") as client:
        await client.send_raw("[")
        await client.send_raw(b"binary")
        await client.receive_until_close(4400)
    async with stage.joined("typed") as client:
        await client.send_invalid(type="ping", pad="x" * 65_536)
        await client.receive_until_close(1009)
    async with stage.joined("typed") as client:
        await client.connection.send(b"\xff", text=True)
        await client.receive_until_close(1007)
    async with stage.joined("typed") as client:
        # A masked frame of an opcode that does not exist.
        client.connection.transport.write(b"\x83\x80\0\0\0\0")
        await client.receive_until_close(1002)


async def read_nothing(stage: Stage) -> None:
    async with stage.joined("typed") as client:
        transport = client.connection.transport
        # The kernel would hold megabytes for it.
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
        )
        transport.pause_reading()
        # Each is answered with as much; at last the answers fill all buffers.
        for _ in range(100):
            await client.send_invalid(type="ping", pad="x" * 60_000)
        transport.resume_reading()
        await client.receive_until_close(4413)


SCENES: tuple[Scene, ...] = (
    open_too_many,
    say_nothing,
    say_no_message,
    read_nothing,
)
