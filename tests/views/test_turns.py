"""How many pages are made at the same time, and for whom."""

from __future__ import annotations

import asyncio

import pytest
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.test import RequestFactory

from runners.serving.turns import Turns
from runners.views import turns as limits
from runners.views.turns import MAILS, OFFICE, PAGES, SECRETS, in_turn
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


class Pages:
    """A view whose responses wait, behind the middleware."""

    def __init__(self) -> None:
        self.running = 0
        self.may_end = asyncio.Event()
        self._answer = in_turn(self._view)
        self._factory = RequestFactory()

    async def _view(self, request: HttpRequest) -> HttpResponse:
        self.running += 1
        await self.may_end.wait()
        return HttpResponse()

    async def ask(
        self, method: str, path: str, times: int = 1
    ) -> list[asyncio.Future[HttpResponseBase]]:
        """Send requests, and run until each that may run does so."""
        requests: list[asyncio.Future[HttpResponseBase]] = [
            asyncio.ensure_future(self._answer(self._factory.generic(method, path)))
            for _ in range(times)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return requests


@pytest.mark.parametrize(
    "method, path, most",
    [
        ("GET", "/sign-in/", PAGES),
        ("POST", "/sign-in/", SECRETS),
        ("POST", "/me/contacts/", MAILS),
        ("POST", "/me/pause/", OFFICE),
        ("GET", "/api/v1/races", OFFICE),
    ],
)
async def test_a_limited_number_of_pages_is_made_at_once(
    method: str, path: str, most: int
) -> None:
    pages = Pages()
    requests = await pages.ask(method, path, most + 3)
    assert pages.running == most
    pages.may_end.set()
    await asyncio.gather(*requests)
    assert pages.running == most + 3


async def test_only_mails_wait_for_a_mail_server_that_hangs() -> None:
    pages = Pages()
    forms = ["/me/contacts/", "/me/notifications/mail/"]
    forms += ["/admin/runners/race/1/people/", "/admin/runners/race/1/setup-links/"]
    requests = []
    for path in forms:
        requests += await pages.ask("POST", path)
    requests += await pages.ask("POST", forms[0])
    assert pages.running == MAILS == 4
    for method, path in (("POST", "/sign-up/"), ("POST", "/me/pause/"), ("GET", "/")):
        requests += await pages.ask(method, path)
    assert pages.running == MAILS + 3
    pages.may_end.set()
    await asyncio.gather(*requests)


async def test_nobody_waits_for_organisers_and_no_watcher_for_pages() -> None:
    pages = Pages()
    requests = await pages.ask("POST", "/api/v1/races", OFFICE + 1)
    requests += await pages.ask("GET", "/races/ten/", PAGES + 1)
    assert pages.running == OFFICE + PAGES
    for path in ("/readyz", "/metrics"):
        requests += await pages.ask("GET", path)
    assert pages.running == OFFICE + PAGES + 2
    pages.may_end.set()
    await asyncio.gather(*requests)


async def test_preflights_take_no_turns_of_organisers() -> None:
    pages = Pages()
    requests = await pages.ask("OPTIONS", "/live.json", PAGES + 1)
    requests += await pages.ask("POST", "/api/v1/races", OFFICE)
    assert pages.running == PAGES + OFFICE
    pages.may_end.set()
    await asyncio.gather(*requests)


@pytest.mark.parametrize(
    ("path", "kind", "shared"),
    [
        ("/races/ten/", "text/plain", None),
        ("/no/such/page", "text/plain", None),
        ("/races/ten/standings.json", "application/json", "*"),
        ("/api/v1/races", "application/problem+json", None),
    ],
)
async def test_a_flood_is_refused(
    monkeypatch: pytest.MonkeyPatch, path: str, kind: str, shared: str | None
) -> None:
    monkeypatch.setattr(limits, "MOST_WAITING", 2)
    pages = Pages()
    requests = await pages.ask("GET", path, PAGES + 2)
    (refused,) = await pages.ask("GET", path)
    response = await refused
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response["Content-Type"] == kind
    assert response.headers.get("Access-Control-Allow-Origin") == shared
    requests[-1].cancel()
    await asyncio.sleep(0)
    requests += await pages.ask("GET", path)
    pages.may_end.set()
    done = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(each) for each in done].count(HttpResponse) == PAGES + 2
