"""Measure the bytes that a spectator of a race of 500 at 1 Hz receives per minute.

The limit is 1.8 MB. Run `python -m tests.browser.traffic`; `--long` measures the whole
minute. The spectator follows as the page does; only frames after the first snapshot
count.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import re
import time
import urllib.request
from typing import Any

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.background import in_background
from tests.browser.first_view import RUNNERS
from tests.factories.people import make_token
from tests.factories.races import make_long_race
from tests.servers import Server

LIMIT_BYTES = 1_800_000
DURATION_S = 60
SHORT_DURATION_S = 20
V1 = [Subprotocol("spectate.v1")]


async def phone(server: Server, token: str, number: int) -> None:
    """Run the course and publish one fix per second, with the precision of phones."""
    async with connect(
        f"{server.ws_url}/ws/",
        subprotocols=V1,
        additional_headers={"Authorization": f"Bearer {token}"},
    ) as socket:
        # The phones are spread evenly over the second.
        due = time.monotonic() + number / RUNNERS
        for second in itertools.count():
            await asyncio.sleep(due + second - time.monotonic())
            along = number + second / 7
            fix = {
                "t": int(time.time() * 1000),
                "lat": 53.35
                + 0.03 * math.sin(along / 160)
                + 0.004 * math.sin(along / 9),
                "lng": -6.3 + 0.05 * math.cos(along / 160),
                "speed": round(2.5 + second % 10 / 7, 4),
                "heading": round(37.3 + second % 9 / 1.7, 4),
            }
            await socket.send(
                json.dumps({"type": "publish", "id": second, "fixes": [fix]})
            )
            while json.loads(await socket.recv())["type"] != "ack":
                pass


def page_follow(server: Server) -> dict[str, Any]:
    """Return the follow message of the race page."""
    with urllib.request.urlopen(f"{server.url}/races/long/") as answer:
        page = re.search(r'id="page"[^>]*>(.*?)</script>', answer.read().decode(), re.S)
    assert page is not None
    return {"type": "follow", **json.loads(page[1])["follow"]}


async def spectator(
    server: Server, follow: dict[str, Any], seconds: int
) -> tuple[int, int, int]:
    """Return the bytes, frames and fixes received in a number of seconds."""
    received = frames = fixes = 0
    async with connect(f"{server.ws_url}/ws/", subprotocols=V1) as socket:
        await socket.send(json.dumps(follow))
        begin = None
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "snapshot" and not message["more"]:
                begin = time.monotonic() + 2
            if begin is None or time.monotonic() < begin:
                continue
            if time.monotonic() > begin + seconds:
                break
            # Includes the header of a frame of this length.
            received += len(text) + (2 if len(text) < 126 else 4)
            frames += 1
            fixes += len(message.get("fixes", ()))
    return received, frames, fixes


async def minute(
    server: Server, tokens: list[str], follow: dict[str, Any], seconds: int
) -> None:
    phones = (phone(server, token, number) for number, token in enumerate(tokens))
    async with in_background(*phones):
        await asyncio.sleep(5)
        received, frames, fixes = await spectator(server, follow, seconds)
    per_minute = received * 60 / seconds
    print(
        f"{fixes} fixes in {frames} frames, {received} bytes in {seconds} s: "
        f"{per_minute / 1e6:.2f} MB per minute, "
        f"{received / max(1, fixes):.1f} bytes per fix: "
        f"{'as expected' if per_minute < LIMIT_BYTES else 'NOT as expected'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true")
    seconds = DURATION_S if parser.parse_args().long else SHORT_DURATION_S
    with Server() as server:
        runners = server.database(make_long_race, RUNNERS)
        tokens = [server.database(make_token, runner) for runner in runners]
        asyncio.run(minute(server, tokens, page_follow(server), seconds))


if __name__ == "__main__":
    main()
