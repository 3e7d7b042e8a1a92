"""Spectate in Python: publish positions, follow runners.

    pip install websockets
    python client.py publish ws://localhost:8080/ws/ TOKEN < fixes
    python client.py follow ws://localhost:8080/ws/ RACE

`publish` reads fixes, one JSON object a line: {"t": ms, "lat": 53.35, "lng": -6.32}.
The rules are those of docs/protocol.md, sections 4 to 7.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

Message = dict[str, Any]

# Close codes after which to come back would only end the same way, and those of a
# server that has too much to do.
FINAL, BUSY = {4400, 4401, 4403}, {1013, 4413, 4429}
BUSY_ATTEMPTS = 4
LONGEST_WAIT = 30.0  # seconds
# A server that says nothing for so many heartbeats is gone.
SILENT_HEARTBEATS = 2.5
BATCH = 500  # fixes
PASSING_ERRORS = {"rate.limited", "store.unavailable"}


class Ended(Exception):
    """The server does not want this client as it is."""


def wait_after(code: int, attempts: int, reconnect: float | None = None) -> float:
    """Return the seconds to stay away after a close; raises `Ended`.

    `attempts`: how many in a row came to nothing; `reconnect`: what the server said.
    """
    if code in FINAL:
        raise Ended(f"closed with {code}")
    if reconnect is not None:
        return reconnect
    if code in BUSY:
        attempts = max(attempts, BUSY_ATTEMPTS)
    return random.uniform(0, min(2.0**attempts, LONGEST_WAIT))


class Client:
    """A socket that comes back by itself."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.socket: ClientConnection | None = None
        self.heartbeat = 20.0  # seconds
        self.attempts = 0
        self.reconnect: float | None = None
        self.problem = ""

    async def run(self) -> None:
        """Stay connected until cancelled; raises `Ended`."""
        while True:
            self.reconnect = None
            code = await self._talk()
            self.socket = None
            try:
                wait = wait_after(code, self.attempts, self.reconnect)
            except Ended:
                raise Ended(self.problem or f"closed with {code}") from None
            self.attempts += 1
            await asyncio.sleep(wait)

    async def say(self, type_: str, **fields: Any) -> None:
        if self.socket is not None:
            await self.socket.send(json.dumps({"type": type_, **fields}))

    async def _talk(self) -> int:
        """Talk until the connection ends; return its close code, 1006 for none."""
        try:
            async with connect(
                self.url,
                subprotocols=[Subprotocol("spectate.v1")],
                additional_headers=self.headers,
            ) as socket:
                self.socket = socket
                await self.opened()
                while True:
                    async with asyncio.timeout(self.heartbeat * SILENT_HEARTBEATS):
                        text = await socket.recv()
                    message = json.loads(text)
                    if message["type"] == "welcome":
                        self.heartbeat = message["heartbeat"]
                    elif message["type"] == "reconnect":
                        self.reconnect = message["after"] / 1000
                    elif message["type"] == "error":
                        self.problem = f"{message['code']}: {message['detail']}"
                    await self.heard(message)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
        except InvalidStatus as refusal:
            if refusal.response.status_code == 403:
                raise Ended("the server refuses the handshake") from None
            return 1006
        except (OSError, TimeoutError, WebSocketException):
            return 1006

    async def opened(self) -> None:
        """Say what there is to say on a new connection."""

    async def heard(self, message: Message) -> None:
        """Take a message; unknown ones are passed over."""


class Publisher(Client):
    """A runner's phone: keeps each fix until it is acked."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(url, token)
        self.runner: str | None = None
        self.welcome = False
        self.unsent: list[Message] = []
        self.sent: dict[int, list[Message]] = {}
        self.next_id = 1
        # Nothing waits for an ack.
        self.acked = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Fixes that no ack has covered yet; keep them on disk if they matter."""
        return len(self.unsent) + sum(map(len, self.sent.values()))

    async def add(self, fix: Message) -> None:
        self.acked.clear()
        self.unsent.append(fix)
        await self.publish()

    async def publish(self) -> None:
        """Send what was not sent; acks may be outstanding meanwhile."""
        while self.socket is not None and self.welcome and self.unsent:
            batch, self.unsent = self.unsent[:BATCH], self.unsent[BATCH:]
            self.sent[self.next_id] = batch
            self.next_id += 1
            try:
                await self.say("publish", id=self.next_id - 1, fixes=batch)
            except ConnectionClosed:
                return

    async def opened(self) -> None:
        # What was on its way may be lost. A fix is known by its time: stored once.
        lost = [fix for batch in self.sent.values() for fix in batch]
        self.unsent = lost + self.unsent
        self.sent.clear()
        self.welcome = False

    async def heard(self, message: Message) -> None:
        if message["type"] == "welcome":
            if self.runner not in (None, message["runner"]):
                # The phone was given to another runner: these are not theirs.
                self.unsent.clear()
            self.runner = message["runner"]
            self.welcome = True
            await self.publish()
        batch = self.sent.pop(message.get("id", 0), [])
        if message["type"] == "ack":
            # Whatever is in `rejected` would be refused again.
            self.attempts = 0
        elif message["type"] == "error" and message["code"] in PASSING_ERRORS:
            self.unsent = batch + self.unsent
            later = message["after"] / 1000
            asyncio.get_running_loop().call_later(later, self._publish_soon)
        if not self.waiting:
            self.acked.set()

    def _publish_soon(self) -> None:
        self._publishing = asyncio.ensure_future(self.publish())


class Spectator(Client):
    """Follows; misses nothing that was stored while it was away."""

    def __init__(self, url: str, **follow: Any) -> None:
        super().__init__(url)
        self.follow = follow
        self.runners: dict[str, Message] = {}
        # The `time` of the last frame after which nothing was missing.
        self.since: int | None = None
        self.complete = False

    async def opened(self) -> None:
        self.complete = False
        since = {} if self.since is None else {"since": self.since}
        await self.say("follow", id=1, **self.follow, **since)

    async def heard(self, message: Message) -> None:
        match message:
            case {"type": "snapshot"}:
                for runner in message["runners"]:
                    self.runners[runner["code"]] = runner
                    if runner["fix"]:
                        t, lat, lng, *_ = runner["fix"]
                        self.moved(runner["code"], t, lat, lng)
                for code in message["truncated"]:
                    # Too much to come over the socket: fetch /runners/CODE/track.json
                    # with the same `since`, until that succeeds.
                    self.fetch_track(code, self.since or 0)
                if not message["more"]:
                    self.complete = True
                    self.attempts = 0
            case {"type": "positions"}:
                for code, t, lat, lng, *_ in message["fixes"]:
                    self.moved(code, t, lat, lng)
            case {"type": "late"}:
                for t, lat, lng in message["fixes"]:
                    self.passed(message["runner"], t, lat, lng)
            case {"type": "event", "kind": "runner", "change": "removed"}:
                self.runners.pop(message["runner"], None)
            case {"type": "event", "kind": "runner", "runner": runner}:
                self.runners[runner["code"]] = runner
            case {"type": "event", "kind": "access", "runner": code}:
                self.runners.pop(code, None)
            case {"type": "error", "id": 1, "code": "store.unavailable"}:
                # Nothing is followed yet.
                await asyncio.sleep(message["after"] / 1000)
                await self.opened()
        # Not the snapshot's own time: what was missed comes right behind it.
        if self.complete and message["type"] != "snapshot" and "time" in message:
            self.since = message["time"]

    def moved(self, code: str, t: int, lat: float, lng: float) -> None:
        """The newest position; a marker moves to a later `t` only."""
        print(code, t, lat, lng, flush=True)

    def passed(self, code: str, t: int, lat: float, lng: float) -> None:
        """A point of the trail, perhaps one that is known already."""
        print(code, t, lat, lng, flush=True)

    def fetch_track(self, code: str, since: int) -> None:
        """A gap that the server does not close over the socket."""
        print(f"{code}: fetch the track since {since}", file=sys.stderr)


async def publish(url: str, token: str) -> None:
    """Publish what comes in, and end once all of it is acked."""
    publisher = Publisher(url, token)
    running = asyncio.create_task(publisher.run())
    while line := await asyncio.to_thread(sys.stdin.readline):
        await publisher.add(json.loads(line))
    all_acked = asyncio.create_task(publisher.acked.wait())
    await asyncio.wait([running, all_acked], return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    if running.done():
        await running


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case ["publish", url, token]:
                asyncio.run(publish(url, token))
            case ["follow", url, race]:
                asyncio.run(Spectator(url, races=[race]).run())
            case _:
                sys.exit(__doc__)
    except Ended as ended:
        sys.exit(f"Not coming back: {ended}")
    except KeyboardInterrupt:
        pass
