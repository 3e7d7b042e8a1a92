"""Simulates a field on a course until it has finished or is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TextIO

from runners.races.course import Course
from runners.simulation.client import Client, Tally
from runners.simulation.display import displayed
from runners.simulation.field import Starter
from runners.simulation.motion import Motion

# The time over which the sockets of a field are opened.
OPENING_S = 2.0
# How long a stop waits for the last acks.
LAST_ACKS_S = 3.0


async def run_field(
    course: Course,
    field: Sequence[Starter],
    *,
    url: str,
    factor: float,
    laps: int,
    duration: float | None,
    incidents: bool = False,
    out: TextIO,
) -> tuple[Tally, int]:
    """Run a field with one client per starter.

    Runners continue from where they were; others wait for the gun, or start somewhere
    along the course. With `incidents` the first phone is often late and the second
    runner leaves the course.

    Ends after `laps` (0: never), `duration` seconds, Ctrl-C or SIGTERM; a second signal
    ends without waiting for the last acks. Returns the tally and the number of fixes
    without an ack.
    """
    tally = Tally()
    random = Random()
    clients = [
        Client(
            Motion(
                course,
                distance=_first_place(starter, course, (place, len(field)), random),
                laps=laps,
                factor=factor,
                pace=starter.pace,
                wait=starter.wait,
                stands=starter.is_out,
                strays=incidents and place == 1,
                random=Random(random.random()),
            ),
            url=url,
            token=starter.plain,
            tally=tally,
            random=Random(random.random()),
            is_late=incidents and place == 0,
        )
        for place, starter in enumerate(field)
    ]
    random.shuffle(clients)
    stopping, hurry = _stops(duration)

    async with displayed(out, _line(clients, tally)):
        tasks = [
            asyncio.create_task(_run(client, OPENING_S * number / len(clients)))
            for number, client in enumerate(clients)
        ]
        running = asyncio.gather(*tasks, return_exceptions=True)
        await _either(running, stopping)
        if not running.done():
            for client in clients:
                client.stop_recording()
            await _either(running, hurry, within=LAST_ACKS_S)
            running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    for task in tasks:
        if not task.cancelled():
            task.result()
    return tally, sum(client.waiting for client in clients)


async def _run(client: Client, wait: float) -> None:
    await asyncio.sleep(wait)
    await client.run()


def _stops(duration: float | None) -> tuple[asyncio.Event, asyncio.Event]:
    """Return what is set at the end or by a signal, and what by a second signal."""
    stopping, hurry = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            hurry.set()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    if duration is not None:
        loop.call_later(duration, stopping.set)
    return stopping, hurry


def _line(clients: Sequence[Client], tally: Tally) -> Callable[[float], str]:
    """Return what describes the present state, with the seconds since it last did."""
    sent_before = 0

    def line(seconds: float) -> str:
        nonlocal sent_before
        rate = (tally.sent - sent_before) / seconds
        sent_before = tally.sent
        waiting = sum(client.waiting for client in clients)
        connected = sum(client.connected for client in clients)
        text = (
            f"{connected}/{len(clients)} connected · {tally.sent:,} sent · "
            f"{tally.acked:,} acked · {waiting:,} waiting · "
            f"{tally.reconnects:,} reconnects · {rate:,.1f} fixes/s"
        )
        if refused := tally.refused.total():
            text += f" · {refused:,} refused"
        return f"{text} · {tally.problem}" if tally.problem else text

    return line


def _first_place(
    starter: Starter, course: Course, among: tuple[int, int], random: Random
) -> float:
    """Return metres from the start: as known, else spread over the course."""
    if starter.distance is not None:
        return starter.distance
    place, size = among
    return course.length * 0.9 * (place + random.random()) / size


async def _either(
    work: asyncio.Future[list[None | BaseException]],
    event: asyncio.Event,
    *,
    within: float | None = None,
) -> None:
    """Wait for the work or the event, at most a number of seconds."""
    event_set = asyncio.create_task(event.wait())
    either: set[asyncio.Future[Any]] = {work, event_set}
    await asyncio.wait(either, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    event_set.cancel()
