"""The workload `seed2015`: the traffic of the client of 2015."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from bench import process
from tests.faults.peer import Peer
from tests.websocket import frame

# Nothing more is expected after this silence.
SILENCE_S = 2.0
# How long a follow may need to take effect, and when it is sent again.
REGISTERED_S = 10.0
AGAIN_S = 2.0
# Runner (id or index), latitude, longitude.
Position = tuple[int, float, float]


@dataclass
class Seed2015Result:
    """One run of the 2015 client's workload: deliveries, seconds and CPU seconds."""

    workload: str
    url: str
    users: int
    messages: int
    # Messages whose latitude is out of range.
    invalid: int
    expected: int
    received: int
    lost: int
    duplicates: int
    disordered: int
    invalid_delivered: int
    # Errors that reached the sender of an invalid position, and all other errors.
    errors: int
    errors_astray: int
    # Positions of runners who are not followed, or with a changed id or number.
    strange: int
    closed: int
    seconds: float
    deliveries_per_s: float
    server_cpu_s: float | None


class SeedUser(Peer):
    """A user's socket. It queues what has arrived and parses it when there is time."""

    def __init__(self, user_id: int) -> None:
        super().__init__()
        self.user_id = user_id
        self.texts: list[bytes] = []
        self.arrived: list[Position] = []
        self.errors = 0
        self.strange = 0

    def received(self, text: bytes) -> None:
        self.texts.append(text)

    def read(self) -> None:
        """Parse what has arrived."""
        texts, self.texts = self.texts, []
        for text in texts:
            match orjson.loads(text):
                case {"error": str()}:
                    self.errors += 1
                case {
                    "userId": int(user),
                    "lat": float(lat),
                    "lng": float(lng),
                    **more,
                }:
                    if user in (self.user_id, self.user_id + 1) and not more:
                        self.arrived.append((user, lat, lng))
                    else:
                        self.strange += 1
                case _:
                    self.strange += 1

    def forget(self) -> None:
        """Discard what has arrived."""
        self.arrived.clear()
        self.errors = self.strange = 0

    def position(self, lat: float, lng: float) -> bytes:
        """Build the frame of a position."""
        return frame(orjson.dumps({"userId": self.user_id, "lat": lat, "lng": lng}))


async def run(
    url: str,
    *,
    pid: int | None = None,
    first_id: int = 1,
    users: int = 100,
    messages: int = 1000,
    seed: int = 2015,
    silence: float = SILENCE_S,
) -> Seed2015Result:
    """Have 100 users follow themselves and the next one and send 1,000 random
    positions.

    The run ends after `silence` seconds without an expected position. Raises
    `TimeoutError` if users do not get their own positions.
    """
    sockets = [await SeedUser(first_id + index).open(url) for index in range(users)]
    for user in sockets:
        following = [user.user_id, user.user_id + 1]
        user.send(
            {"initialRequest": True, "following": following, "userId": user.user_id}
        )
    await registered(sockets, max(REGISTERED_S, silence))

    randomness = random.Random(seed)
    sent: list[Position] = [
        (
            randomness.randrange(users),
            randomness.uniform(-180, 180),
            randomness.uniform(-180, 180),
        )
        for _ in range(messages)
    ]
    # Built before the clock starts, because only the server is measured.
    frames = [
        (sockets[index].transport, sockets[index].position(lat, lng))
        for index, lat, lng in sent
    ]
    cpu = process.cpu_seconds(pid) if pid else 0.0
    start = time.perf_counter()
    for number, (transport, position) in enumerate(frames):
        transport.write(position)
        if number % 32 == 31:
            await asyncio.sleep(0)
    due = sum(
        # An invalid position is answered to its sender. A valid one goes to the user
        # and to the one before.
        1 if abs(lat) > 90 else 1 + (index > 0)
        for index, lat, _ in sent
    )
    seen, last = 0, time.perf_counter()
    while time.perf_counter() - last < (SILENCE_S if seen >= due else silence):
        now_seen = sum(len(user.texts) for user in sockets)
        if now_seen != seen:
            seen, last = now_seen, time.perf_counter()
        await asyncio.sleep(0.01)
    seconds = last - start
    cpu = process.cpu_seconds(pid) - cpu if pid else 0.0
    for user in sockets:
        user.read()
    result = compare(sent, sockets, url=url, seconds=seconds)
    result.server_cpu_s = round(cpu, 2) if pid else None
    for user in sockets:
        if not user.closed.done():
            await user.leave()
    return result


async def registered(sockets: Sequence[SeedUser], seconds: float) -> None:
    """Wait until every user has a position of each runner they follow."""
    deadline = time.perf_counter() + seconds
    for attempt in itertools.count():
        # Later positions are checked for their order per runner.
        lng = 10.5 + attempt
        for user in sockets:
            user.transport.write(user.position(1.5, lng))
        again = time.perf_counter() + AGAIN_S
        while time.perf_counter() < again:
            await asyncio.sleep(0.02)
            for user in sockets:
                user.read()
            seen = [sum(place[2] == lng for place in u.arrived) for u in sockets]
            if seen == [2] * (len(sockets) - 1) + [1]:
                for user in sockets:
                    user.forget()
                return
        if time.perf_counter() > deadline:
            break
    raise TimeoutError("The users' own positions do not come back; in open mode?")


def compare(
    sent: Sequence[Position], sockets: Sequence[SeedUser], *, url: str, seconds: float
) -> Seed2015Result:
    """Compare what arrived with what was sent."""
    first_id = sockets[0].user_id
    numbers = {
        (first_id + index, lat, lng): number
        for number, (index, lat, lng) in enumerate(sent)
    }
    valid = [abs(lat) <= 90 for _, lat, _ in sent]
    expected = received = duplicates = disordered = invalid_delivered = strange = 0
    errors = errors_astray = 0
    for index, user in enumerate(sockets):
        due = {
            number
            for number, (sender, _, _) in enumerate(sent)
            if valid[number] and sender in (index, index + 1)
        }
        expected += len(due)
        strange += user.strange
        got: list[int] = []
        for position in user.arrived:
            if (number := numbers.get(position, -1)) < 0:
                strange += 1
            elif not valid[number]:
                invalid_delivered += 1
            else:
                got.append(number)
        received += len(due.intersection(got))
        duplicates += len(got) - len(set(got))
        # A user follows two runners. The order is that of each runner's positions.
        for runner in (index, index + 1):
            of_runner = [number for number in got if sent[number][0] == runner]
            disordered += sum(
                later < earlier
                for earlier, later in zip(of_runner, of_runner[1:], strict=False)
            )
        refused = sum(
            sender == index and not valid[number]
            for number, (sender, _, _) in enumerate(sent)
        )
        errors += min(user.errors, refused)
        errors_astray += max(0, user.errors - refused)
    return Seed2015Result(
        workload="seed2015",
        url=url,
        users=len(sockets),
        messages=len(sent),
        invalid=valid.count(False),
        expected=expected,
        received=received,
        lost=expected - received,
        duplicates=duplicates,
        disordered=disordered,
        invalid_delivered=invalid_delivered,
        errors=errors,
        errors_astray=errors_astray,
        strange=strange,
        closed=sum(user.closed.done() for user in sockets),
        seconds=round(seconds, 3),
        deliveries_per_s=round(received / seconds, 1),
        server_cpu_s=None,
    )
