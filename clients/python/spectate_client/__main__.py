"""Publish positions or follow a race from a terminal.

    python -m spectate_client publish wss://HOST/ws/ TOKEN < fixes
    python -m spectate_client follow wss://HOST/ws/ RACE

`publish` reads one JSON object per line, {"t": ms, "lat": 53.35, "lng": -6.32}, and
ends once all of them are acked; `follow` prints the positions that it receives.
"""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import chain
from threading import Thread
from typing import Any

from . import Ended, Publisher, Spectator


def _print_fix(code: str, fix: dict[str, Any]) -> None:
    print(code, fix["t"], fix["lat"], fix["lng"], flush=True)


def _print_refusal(code: str, detail: str, _: object) -> None:
    print(f"{code}: {detail}", file=sys.stderr)


async def publish(url: str, token: str) -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in chain(sys.stdin, [""]):
            loop.call_soon_threadsafe(lines.put_nowait, line)

    async with Publisher(url, token) as publisher:
        publisher.on_refused = _print_refusal
        # A refused token ends the program although its input goes on.
        publisher.on_ended = lambda code, detail: lines.put_nowait("")
        Thread(target=read, daemon=True).start()
        while line := await lines.get():
            if not publisher.add(json.loads(line)):
                await publisher.flush()
                publisher.add(json.loads(line))
        if publisher.ended is not None:
            raise publisher.ended
        await publisher.flush()


async def follow(url: str, race: str) -> None:
    async with Spectator(url, {"races": [race]}) as spectator:
        spectator.on_moved = spectator.on_passed = _print_fix
        spectator.on_refused = _print_refusal
        await spectator.wait()


def main() -> None:
    try:
        match sys.argv[1:]:
            case ["publish", url, token]:
                asyncio.run(publish(url, token))
            case ["follow", url, race]:
                asyncio.run(follow(url, race))
            case _:
                sys.exit(__doc__)
    except Ended as ended:
        sys.exit(f"Not reconnecting: {ended}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
