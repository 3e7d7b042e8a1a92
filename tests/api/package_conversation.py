"""Each client package publishes to a real server, and follows itself.

`python -m tests.api.package_conversation`, after the packages were compiled.
"""

from __future__ import annotations

import asyncio
import time

from clients.conformance.packages import PACKAGES
from clients.conformance.program import ClientUnderTest, Program
from tests.factories.people import make_runner, make_token
from tests.servers import Server


async def converse(package: str, server: Server) -> None:
    runner = await server.adatabase(make_runner, package, visibility="public")
    token = await server.adatabase(make_token, runner)
    url = f"{server.ws_url}/ws/"
    fix = {"t": time.time_ns() // 1_000_000, "lat": 48.5, "lng": 2.0}
    async with Program(PACKAGES[package]()) as program:
        phone = ClientUnderTest(
            program, "phone", do="publish", url=url, token=token, capacity=10
        )
        await phone.add(fix)
        await phone.flush()
        follow = {"runners": [package]}
        spectator = ClientUnderTest(
            program, "spectator", do="follow", url=url, follow=follow
        )
        code, moved = await spectator.event("moved")
        assert (code, moved["t"], moved["lat"]) == (package, fix["t"], fix["lat"])
        await spectator.stop()
        assert await phone.stop() == []
        wrong = ClientUnderTest(
            program, "wrong", do="publish", url=url, token="wrong", capacity=10
        )
        assert (await wrong.event("ended"))[0] == "token.invalid"
    print(f"{package} published to a server and followed.")


def main() -> None:
    with Server("uvicorn") as server:
        for package in PACKAGES:
            asyncio.run(converse(package, server))


if __name__ == "__main__":
    main()
