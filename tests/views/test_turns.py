"""How many pages are made at the same time, and for whom."""

from __future__ import annotations

import asyncio

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from runners.views.turns import PAGES, SECRETS, Turns, in_turn
from tests.virtual_time import virtual_time


@virtual_time
async def test_a_network_with_many_requests_delays_others_by_one_at_most() -> None:
    turns, served = Turns(1), []

    async def ask(name: str) -> None:
        async with turns.turn(name):
            served.append(name)
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for name in ("mallory", "mallory", "mallory", "alice", "mallory", "bob"):
            group.create_task(ask(name))
    assert served == ["mallory", "mallory", "alice", "bob", "mallory", "mallory"]


@virtual_time
async def test_a_client_that_leaves_takes_no_turn() -> None:
    turns = Turns(1)

    async def ask() -> None:
        async with turns.turn("alice"):
            await asyncio.sleep(1)

    first, waiting, served = (asyncio.create_task(ask()) for _ in range(3))
    await asyncio.sleep(0.5)
    waiting.cancel()
    await first
    # It has its turn already, but has not run yet.
    served.cancel()
    await asyncio.wait([waiting, served])
    assert waiting.cancelled() and served.cancelled()
    async with asyncio.timeout(1):
        await turns.turn("bob").__aenter__()


@pytest.mark.parametrize(
    "method, path, most", [("GET", "/sign-in/", PAGES), ("POST", "/sign-in/", SECRETS)]
)
async def test_a_limited_number_of_pages_is_made_at_once(
    method: str, path: str, most: int
) -> None:
    running, may_end = 0, asyncio.Event()

    async def view(request: HttpRequest) -> HttpResponse:
        nonlocal running
        running += 1
        await may_end.wait()
        return HttpResponse()

    answer = in_turn(view)
    factory = RequestFactory()
    requests = [
        asyncio.ensure_future(answer(factory.generic(method, path)))
        for _ in range(most + 3)
    ]
    # Each that may run does so in the first pass of the loop.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert running == most
    may_end.set()
    await asyncio.gather(*requests)
    assert running == most + 3
