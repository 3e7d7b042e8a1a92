"""Measure how many single-point requests of phones a server handles on one core.

    python -m bench.intake            the project's endpoint
    python -m bench.intake --plain    the same behind Django's middleware, in a view
    python -m bench.intake --burst 8 50 200 --rounds 3
        send 2,000 points of one phone at once over so many connections while 100 other
        phones send one per second; print medians, and whether the others are delayed

The server runs on core 0, the generator on core 1. Each connection is a phone that
sends its next point after the answer to the last one, which is sent after the commit.
The points in the database are counted at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import cast

import uvloop

from bench.process import cpu_seconds
from tests.factories.people import make_phones
from tests.factories.positions import stored_times
from tests.servers import in_database, migrate

ROOT = Path(__file__).resolve().parent.parent
PORT = 8299


class Phone(asyncio.Protocol):
    """A connection that sends one point after each answer."""

    def __init__(self, number: int, token: str, tally: Tally) -> None:
        self.number = number
        self.token = token
        self.tally = tally
        self.t = int(time.time()) - 7_200
        self.sent_at = 0.0
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.send()

    def send(self) -> None:
        self.t += 1
        lat = 53.35 + self.number * 1e-4 + self.t % 1000 * 1e-6
        body = (
            f"id=phone{self.number}&lat={lat:.6f}&lon=-6.328500&timestamp={self.t}"
            "&speed=6.27&bearing=184.0&altitude=21.5&accuracy=4.7&batt=81&charge=false"
        )
        self.sent_at = time.perf_counter()
        self.transport.write(
            (
                f"POST /intake/osmand/{self.token} HTTP/1.1\r\n"
                f"Host: 127.0.0.1:{PORT}\r\n"
                "User-Agent: TraccarClient/10\r\n"
                "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}"
            ).encode()
        )

    def data_received(self, data: bytes) -> None:
        # Responses are short and have no body: they end with a blank line.
        self.buffer += data
        if b"\r\n\r\n" in self.buffer:
            status = self.buffer[9:12].decode()
            self.buffer = b""
            self.tally.record(status, time.perf_counter() - self.sent_at)
            if self.tally.is_open:
                self.send()
            else:
                self.transport.close()


class Tally:
    """Counts of statuses, and latencies in seconds."""

    def __init__(self) -> None:
        self.statuses: dict[str, int] = {}
        self.latencies: list[float] = []
        self.is_open = True

    def record(self, status: str, seconds: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latencies.append(seconds)


async def generate(tokens: list[str], seconds: float) -> tuple[Tally, float]:
    """Send for some seconds. Return the tally and the duration."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    started = time.perf_counter()
    for number, token in enumerate(tokens):
        await loop.create_connection(
            lambda number=number, token=token: Phone(number, token, tally),  # type: ignore[misc]
            "127.0.0.1",
            PORT,
        )
    await asyncio.sleep(seconds)
    tally.is_open = False
    took = time.perf_counter() - started
    await asyncio.sleep(1)
    return tally, took


BURST_POINTS = 2_000
OTHER_PHONES = 100
WINDOW_S = 10.0
# The others' p99 may grow by the greater of these.
MAX_DELAY_MS = 15.0
MAX_DELAY_SHARE = 0.2


class Sender(Phone):
    """A connection that sends on request and reports when the answer arrives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.answered = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if b"\r\n\r\n" in self.buffer:
            status, self.buffer = self.buffer[9:12].decode(), b""
            self.tally.record(status, time.perf_counter() - self.sent_at)
            self.answered.set()

    async def request(self) -> None:
        self.answered.clear()
        self.send()
        await self.answered.wait()


async def connect(number: int, token: str, tally: Tally) -> Sender:
    loop = asyncio.get_running_loop()
    _, sender = await loop.create_connection(
        lambda: Sender(number, token, tally), "127.0.0.1", PORT
    )
    return sender


async def burst(token: str, others: list[str], connections: int) -> dict[str, float]:
    """Compare the latency of phones before and while another one sends its backlog."""
    quiet, busy, own = Tally(), Tally(), Tally()
    phones = [await connect(n, t, quiet) for n, t in enumerate(others)]

    async def steady(phone: Sender, offset: float) -> None:
        due = time.perf_counter() + offset
        while True:
            await asyncio.sleep(max(0, due - time.perf_counter()))
            await phone.request()
            due += 1

    steadies = [
        asyncio.create_task(steady(phone, number / len(phones)))
        for number, phone in enumerate(phones)
    ]
    await asyncio.sleep(2)
    quiet.latencies.clear()
    await asyncio.sleep(WINDOW_S)
    for phone in phones:
        phone.tally = busy
    started = time.perf_counter()
    left = iter(range(BURST_POINTS))

    async def pour(number: int) -> None:
        sender = await connect(0, token, own)
        for _point in left:
            sender.t = int(time.time()) - 7_200 + _point
            await sender.request()
        sender.transport.close()

    await asyncio.gather(*(pour(n) for n in range(connections)))
    took = time.perf_counter() - started
    await asyncio.sleep(max(0, WINDOW_S - took))
    for task in steadies:
        task.cancel()
    for phone in phones:
        phone.transport.close()

    def p99(tally: Tally) -> float:
        latencies = sorted(tally.latencies)
        return round(latencies[len(latencies) * 99 // 100] * 1000, 1)

    assert set(own.statuses) == {"200"}, own.statuses
    return {
        "connections": connections,
        "burst_s": round(took, 2),
        "others_p99_before_ms": p99(quiet),
        "others_p99_during_ms": p99(busy),
        "others_requests": len(busy.latencies),
    }


async def bursts(tokens: list[str], each: list[int], rounds: int) -> None:
    """Print the medians of some rounds, and whether the others were delayed."""
    others, spare = tokens[:OTHER_PHONES], iter(tokens[OTHER_PHONES:])
    for connections in each:
        # A token accepts 5,000 points at once, so each round has a different one.
        found = [await burst(next(spare), others, connections) for _ in range(rounds)]
        middle = {key: statistics.median(one[key] for one in found) for key in found[0]}
        before, during = (
            middle[f"others_p99_{when}_ms"] for when in ("before", "during")
        )
        within = during - before <= max(MAX_DELAY_MS, before * MAX_DELAY_SHARE)
        line = middle | {"rounds": rounds, "load_average": os.getloadavg()[0]}
        print(json.dumps(line), flush=True)
        print("as expected" if within else "more than 15 ms and 20 %", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--phones", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--burst", type=int, nargs="+", metavar="CONNECTIONS")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    if options.burst:
        options.phones = OTHER_PHONES + len(options.burst) * options.rounds
    with tempfile.TemporaryDirectory() as folder:
        database_url = f"sqlite:///{folder}/db.sqlite3"
        env = os.environ | {
            "DATABASE_URL": database_url,
            "SECRET_KEY": "only for a benchmark",
            "PORT": str(PORT),
        }
        migrate(database_url)
        phones = in_database(database_url, make_phones, options.phones)
        tokens = list(phones.values())
        command = [sys.executable, "manage.py", "serve"]
        if options.plain:
            command = [
                sys.executable,
                "-m",
                "uvicorn",
                "bench.plain_intake:application",
            ]
            command += ["--port", str(PORT)]
        with (Path(folder) / "log").open("wb") as log:
            server = subprocess.Popen(
                ["taskset", "-c", "0", *command],
                cwd=ROOT,
                env=env,
                stdout=log,
                stderr=log,
            )
            try:
                wait()
                os.sched_setaffinity(0, {1})
                if options.burst:
                    uvloop.run(bursts(tokens, options.burst, options.rounds))
                    return
                before = cpu_seconds(server.pid)
                tally, took = uvloop.run(generate(tokens, options.seconds))
                cpu = cpu_seconds(server.pid) - before
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait()
        times = in_database(database_url, stored_times)
        stored = sum(map(len, times.values()))
    latencies = sorted(tally.latencies)
    total = len(latencies)
    print(
        json.dumps(
            {
                "way": "plain view" if options.plain else "door",
                "phones": options.phones,
                "requests_per_s": round(total / took),
                "per_server_cpu_s": round(total / cpu),
                "p50_ms": round(latencies[total // 2] * 1000, 1),
                "p99_ms": round(latencies[total * 99 // 100] * 1000, 1),
                "statuses": tally.statuses,
                "answered": total,
                "stored": stored,
                "load_average": os.getloadavg()[0],
            }
        )
    )


def wait() -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz")
            return
        except OSError:
            assert time.monotonic() < deadline, "The server did not start."
            time.sleep(0.1)


if __name__ == "__main__":
    main()
