"""What only a fault provokes, and the server's leave: one after the other."""

from __future__ import annotations

import os
import signal

from django.db import connection

from tests.api.scenes.cast import Cast
from tests.api.scenes.stage import Scene, Stage


def execute(sql: str, *values: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def break_rows(cast: Cast) -> None:
    """Write into a race and a token what is none of their fields."""
    cast.races["plain"].line = ["nonsense"]
    cast.races["plain"].save()
    token = cast.phones["sick"].pk
    execute("update runners_runnertoken set expires_at = x'ff' where id = %s", token)


async def fail(stage: Stage) -> None:
    await stage.adatabase(break_rows, stage.cast)
    async with stage.joined("typed") as client:
        await client.send(type="follow", races=["plain"])
        await client.receive_codes("server.error")
    async with stage.joined("typed", stage.tokens["sick"]) as client:
        await client.receive_until_close(1011)


async def lose_the_database(stage: Stage) -> None:
    async with stage.joined("typed") as client:
        await client.send(type="ping")
        await client.receive_type("pong")
        await stage.adatabase(execute, "alter table runners_runner rename to mislaid")
        try:
            await client.send(type="follow", runners=["8"])
            await client.receive_codes("store.unavailable")
            async with stage.joined("typed", stage.tokens["8"]) as phone:
                await phone.receive_until_close(1013)
            await stage.requests.ask_in_vain()
        finally:
            await stage.adatabase(
                execute, "alter table mislaid rename to runners_runner"
            )


async def leave(stage: Stage) -> None:
    async with stage.joined("typed") as client, stage.joined("seed") as deaf:
        await client.send(type="ping")
        await client.receive_type("pong")
        # One that does not answer the close is waited for a moment.
        deaf.connection.transport.pause_reading()
        os.kill(stage.capture.server.pid, signal.SIGTERM)
        await client.receive_type("reconnect")
        await client.receive_until_close(1012)
        await stage.requests.ask_while_it_leaves()
        deaf.connection.transport.resume_reading()
        await deaf.receive_until_close(1012)


SCENES: tuple[Scene, ...] = (
    fail,
    lose_the_database,
    leave,
)
