"""What a spectator of a race of 500 at 1 Hz receives in a minute: under 1.8 MB.

`python -m tests.browser.minute`; `--long` is the whole minute. The spectator asks as
the page does. Counted is what comes over the websocket after the first picture.
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

from tests.browser.first_view import RUNNERS
from tests.factories.people import make_token
from tests.factories.races import make_long_race
from tests.servers import Server

BYTES = 1_800_000
SECONDS, SECONDS_SHORT = 60, 20
V1 = [Subprotocol("spectate.v1")]


async def phone(server: Server, token: str, number: int) -> None:
    """Run the course and publish a fix a second, to the precision of phones."""
    async with connect(
        f"{server.ws_url}/ws/",
        subprotocols=V1,
        additional_headers={"Authorization": f"Bearer {token}"},
    ) as socket:
        # As many in each moment of the second.
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


def asked(server: Server) -> dict[str, Any]:
    """Return what the page of the race asks for."""
    with urllib.request.urlopen(f"{server.url}/races/long/") as answer:
        page = re.search(r'id="page"[^>]*>(.*?)</script>', answer.read().decode(), re.S)
    assert page is not None
    return {"type": "follow", **json.loads(page[1])["follow"]}


async def spectator(
    server: Server, follow: dict[str, Any], seconds: int
) -> tuple[int, int, int]:
    """Return bytes, frames and fixes of so many seconds."""
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
            # With the head of a frame of this length.
            received += len(text) + (2 if len(text) < 126 else 4)
            frames += 1
            fixes += len(message.get("fixes", ()))
    return received, frames, fixes


async def minute(
    server: Server, tokens: list[str], follow: dict[str, Any], seconds: int
) -> None:
    phones = [
        asyncio.create_task(phone(server, token, number))
        for number, token in enumerate(tokens)
    ]
    await asyncio.sleep(5)
    received, frames, fixes = await spectator(server, follow, seconds)
    for task in phones:
        task.cancel()
    await asyncio.gather(*phones, return_exceptions=True)
    whole = received * 60 / seconds
    print(
        f"{fixes} fixes in {frames} frames, {received} bytes in {seconds} s: "
        f"{whole / 1e6:.2f} MB a minute, {received / max(1, fixes):.1f} bytes a fix: "
        f"{'as it must be' if whole < BYTES else 'NOT as it must be'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true")
    seconds = SECONDS if parser.parse_args().long else SECONDS_SHORT
    with Server() as server:
        runners = server.database(make_long_race, RUNNERS)
        tokens = [server.database(make_token, runner) for runner in runners]
        asyncio.run(minute(server, tokens, asked(server), seconds))


if __name__ == "__main__":
    main()
