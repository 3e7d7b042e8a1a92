"""Scenarios with a fault, and the drain: one after the other."""

from __future__ import annotations

import os
import signal

from django.db import connection

from tests.api.scenarios.context import Context, Scenario
from tests.api.scenarios.rows import Rows


def execute(sql: str, *values: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def break_rows(rows: Rows) -> None:
    """Write invalid data into a race and a token."""
    rows.races["plain"].line = ["nonsense"]
    rows.races["plain"].save()
    token = rows.phones["sick"].pk
    execute("update runners_runnertoken set expires_at = x'ff' where id = %s", token)


async def break_race_and_token(context: Context) -> None:
    await context.adatabase(break_rows, context.rows)
    async with context.joined("typed") as client:
        await client.send(type="follow", races=["plain"])
        await client.receive_codes("server.error")
    async with context.joined("typed", context.tokens["sick"]) as client:
        await client.receive_until_close(1011)


async def lose_the_database(context: Context) -> None:
    async with context.joined("typed") as client:
        await client.send(type="ping")
        await client.receive_type("pong")
        await context.adatabase(execute, "alter table runners_runner rename to mislaid")
        try:
            await client.send(type="follow", runners=["8"])
            await client.receive_codes("store.unavailable")
            async with context.joined("typed", context.tokens["8"]) as phone:
                await phone.receive_until_close(1013)
            await context.requests.request_without_database()
        finally:
            await context.adatabase(
                execute, "alter table mislaid rename to runners_runner"
            )


async def drain(context: Context) -> None:
    async with context.joined("typed") as client, context.joined("seed") as stalled:
        await client.send(type="ping")
        await client.receive_type("pong")
        # The drain waits some time for a client that does not respond to the close.
        stalled.connection.transport.pause_reading()
        os.kill(context.capture.server.pid, signal.SIGTERM)
        await client.receive_type("reconnect")
        await client.receive_until_close(1012)
        await context.requests.request_during_drain()
        stalled.connection.transport.resume_reading()
        await stalled.receive_until_close(1012)


SCENARIOS: tuple[Scenario, ...] = (
    break_race_and_token,
    lose_the_database,
    drain,
)
