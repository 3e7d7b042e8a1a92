"""Resolving names of push services while name servers do not respond."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from runners.notifying import names as names_module
from runners.notifying.names import FRESH_FOR_S, STALE_FOR_S, Names


class NameServer:
    """Answers for all names but silent ones, until it is released."""

    def __init__(self) -> None:
        self.is_silent = False
        self.asked: list[str] = []
        self.released = threading.Event()

    def getaddrinfo(self, host: str, *args: Any, **more: Any) -> list[Any]:
        self.asked.append(host)
        if self.is_silent or host.startswith("silent"):
            self.released.wait()
            raise socket.gaierror("no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 0))]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    monkeypatch.setattr(names_module, "TIMEOUT_S", 0.05)
    yield server
    server.released.set()


def test_a_silent_name_server_delays_no_round_longer_than_its_time_limit(
    server: NameServer,
) -> None:
    names = Names()

    async def resolve() -> list[str]:
        with pytest.raises(TimeoutError):
            await names.resolve("silent.example")
        return await names.resolve("push.example")

    # As in a round of deliveries: the end of its loop waits for no thread.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert runner.run(resolve()) == ["93.184.215.14"]
    assert not server.released.is_set()


async def test_many_silent_names_do_not_delay_a_known_one(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_module, "MAX_WAITING", 2)
    names = Names()
    await names.resolve("push.example")
    for number in range(4):
        with pytest.raises(TimeoutError):
            await names.resolve(f"silent{number}.example")
    assert server.asked == ["push.example", "silent0.example", "silent1.example"]
    names._known["push.example"] = names._known["push.example"]._replace(
        at=names._known["push.example"].at - FRESH_FOR_S
    )
    assert await names.resolve("push.example") == ["93.184.215.14"]
    assert server.asked[-1] == "push.example"


async def test_an_old_address_is_used_while_its_name_cannot_be_resolved(
    server: NameServer,
) -> None:
    names = Names()
    await names.resolve("push.example")
    server.is_silent = True
    known = names._known["push.example"]
    names._known["push.example"] = known._replace(at=known.at - FRESH_FOR_S)
    assert await names.resolve("push.example") == known.addresses
    names._known["push.example"] = known._replace(at=known.at - STALE_FOR_S - 1)
    with pytest.raises(TimeoutError):
        await names.resolve("push.example")


async def test_the_number_of_known_names_is_limited(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_module, "MAX_KNOWN", 2)
    names = Names()
    for host in "abc":
        await names.resolve(f"{host}.example")
    assert list(names._known) == ["b.example", "c.example"]
