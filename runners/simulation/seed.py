"""The client of 2015: everybody follows two and sends as fast as they can."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TextIO

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from runners.simulation.display import displayed

# The time without a frame after which missing positions count as lost.
SILENCE_S = 5.0
# The time-out for all sockets to open, and for all follows to take effect.
READY_TIMEOUT_S = 30.0
# Positions sent between two reads.
BURST = 20

Place = tuple[float, float]


class SeedError(Exception):
    """The run could not start; the message says why."""


@dataclass
class SeedUser:
    """One client: what it sends and receives; ids are numbers."""

    id: int
    sends: list[Place]
    got: Counter[tuple[int, Place]] = field(default_factory=Counter)
    errors: int = 0
    # Positions of runners that it does not follow, or with an id that is not a number.
    foreign: int = 0
    last_error: str = ""
    closed: str = ""
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def following(self) -> list[int]:
        return [self.id, self.id + 1]

    @property
    def valid(self) -> set[Place]:
        return {place for place in self.sends if _is_valid(place)}


@dataclass
class SeedReport:
    """The positions that each follower should have received and did, by user's id."""

    should: dict[int, int]
    got: dict[int, int]
    sent: int = 0
    invalid: int = 0  # Sent positions that are out of range.
    errors: int = 0  # Errors received for them.
    # Unexpected positions: not followed, invalid, or with a different id.
    foreign: int = 0
    surplus: int = 0  # Positions received more than once.
    seconds: float = 0.0
    closed: list[str] = field(default_factory=list)
    last_error: str = ""

    @property
    def missing(self) -> dict[int, int]:
        return {
            user: should - self.got[user]
            for user, should in self.should.items()
            if self.got[user] < should
        }

    @property
    def complete(self) -> bool:
        return not (self.missing or self.foreign or self.surplus)


async def run_seed(
    *, url: str, users: int, messages: int, out: TextIO, random: Random
) -> SeedReport:
    """Do what the client of 2015 did, with the same messages; raise SeedError.

    Latitudes are drawn from -180 to 180 as there, so about half are refused.
    """
    everybody = [
        SeedUser(
            id_,
            [
                (random.uniform(-180, 180), random.uniform(-180, 180))
                for _ in range(messages)
            ],
        )
        for id_ in range(users)
    ]
    total = sum(len(places) for places in _should(everybody).values())

    def line(_: float) -> str:
        got = sum(len(user.got) for user in everybody)
        errors = sum(user.errors for user in everybody)
        return f"{users} users · {got:,} of {total:,} positions · {errors:,} errors"

    async with displayed(out, line), contextlib.AsyncExitStack() as sockets:
        opened = await _open(everybody, url, sockets)
        readers = [
            asyncio.create_task(_read(user, socket))
            for user, socket in zip(everybody, opened, strict=True)
        ]
        for user, socket in zip(everybody, opened, strict=True):
            await socket.send(
                json.dumps(
                    {
                        "initialRequest": True,
                        "following": user.following,
                        "userId": user.id,
                    }
                )
            )
        await _all_follows_in_force(everybody, opened)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with contextlib.suppress(ConnectionClosed):
            await asyncio.gather(
                *(
                    _send(user, socket)
                    for user, socket in zip(everybody, opened, strict=True)
                )
            )
        ended = await _until_quiet(everybody, total)
        report = _report(everybody, ended - began)
        for reader in readers:
            reader.cancel()
    return report


async def _open(
    everybody: list[SeedUser], url: str, sockets: contextlib.AsyncExitStack
) -> list[ClientConnection]:
    opened = []
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            for _ in everybody:
                # The client's library queues nothing, so delays are the server's.
                socket = connect(
                    url,
                    compression=None,
                    proxy=None,
                    max_queue=None,
                    ping_interval=None,
                    close_timeout=2,
                )
                opened.append(await sockets.enter_async_context(socket))
    except (OSError, TimeoutError, WebSocketException) as error:
        raise SeedError(
            f"Only {len(opened)} of {len(everybody)} sockets opened: "
            f"{str(error) or type(error).__name__}."
        ) from error
    return opened


async def _all_follows_in_force(
    everybody: list[SeedUser], opened: list[ClientConnection]
) -> None:
    """Wait until each initial request has taken effect.

    It has no reply, but the frames of a socket take effect in order: once an impossible
    position has come back as an error, the request before it is in effect.
    """
    for user, socket in zip(everybody, opened, strict=True):
        await socket.send(json.dumps({"userId": user.id, "lat": 999, "lng": 0}))
    waiting = [asyncio.create_task(user.ready.wait()) for user in everybody]
    answered, _ = await asyncio.wait(
        waiting, timeout=SILENCE_S, return_when=asyncio.FIRST_COMPLETED
    )
    # The server of 2015 does not reply, so wait for a fixed time.
    _, unanswered = await asyncio.wait(
        waiting, timeout=READY_TIMEOUT_S if answered else 0
    )
    for task in unanswered:
        task.cancel()


async def _send(user: SeedUser, socket: ClientConnection) -> None:
    for number, (lat, lng) in enumerate(user.sends):
        await socket.send(json.dumps({"userId": user.id, "lat": lat, "lng": lng}))
        if number % BURST == 0:
            await asyncio.sleep(0)


async def _read(user: SeedUser, socket: ClientConnection) -> None:
    following = set(user.following)
    try:
        async for text in socket:
            message = json.loads(text)
            if "error" in message:
                if user.ready.is_set():
                    user.errors += 1
                    user.last_error = f"{message['error']}: {message.get('detail')}"
                user.ready.set()
                continue
            id_ = message.get("userId")
            place = (message.get("lat"), message.get("lng"))
            if type(id_) is int and id_ in following:
                user.got[id_, place] += 1
            else:
                user.foreign += 1
    except ConnectionClosed as closed:
        user.closed = f"user {user.id}: {closed}"


async def _until_quiet(everybody: list[SeedUser], total: int) -> float:
    """Wait until nothing more arrives; return the time of the last arrival."""
    loop = asyncio.get_running_loop()
    seen, last = -1, loop.time()
    invalid = sum(len(user.sends) - len(user.valid) for user in everybody)
    while loop.time() - last < SILENCE_S:
        positions = sum(user.got.total() for user in everybody)
        errors = sum(user.errors for user in everybody)
        if positions + errors > seen:
            seen, last = positions + errors, loop.time()
        if positions >= total and errors >= invalid:
            break
        await asyncio.sleep(0.05)
    return last


def _should(everybody: list[SeedUser]) -> dict[int, set[tuple[int, Place]]]:
    """Return what each follower should receive."""
    valid = {user.id: user.valid for user in everybody}
    return {
        user.id: {
            (other, place) for other in user.following for place in valid.get(other, ())
        }
        for user in everybody
    }


def _report(everybody: list[SeedUser], seconds: float) -> SeedReport:
    should = _should(everybody)
    return SeedReport(
        should={id_: len(places) for id_, places in should.items()},
        got={user.id: len(should[user.id] & user.got.keys()) for user in everybody},
        sent=sum(len(user.sends) for user in everybody),
        invalid=sum(len(user.sends) - len(user.valid) for user in everybody),
        errors=sum(user.errors for user in everybody),
        foreign=sum(
            user.foreign + len(user.got.keys() - should[user.id]) for user in everybody
        ),
        surplus=sum(user.got.total() - len(user.got) for user in everybody),
        seconds=seconds,
        closed=[user.closed for user in everybody if user.closed],
        last_error=next((user.last_error for user in everybody if user.last_error), ""),
    )


def _is_valid(place: Place) -> bool:
    lat, lng = place
    return -90 <= lat <= 90 and -180 <= lng <= 180 and place != (0, 0)
