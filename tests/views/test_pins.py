"""Wrong PINs of a share link, at each endpoint that accepts it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from django.contrib.auth.hashers import check_password
from django.http import HttpResponse
from django.test import AsyncClient, Client

from runners.models import Race, ShareLink
from runners.rights import share_links
from tests.factories.people import make_link
from tests.races.field import make_entry, make_race
from tests.views.test_share import page_of
from tests.waiting import PATIENCE_S

# Share links are read in the threads of the database pool.
pytestmark = pytest.mark.django_db(transaction=True)

PIN = "473829"
ENDPOINTS = [
    "/live.json",
    "/runners/bob/track.json",
    "/runners/bob/track.gpx",
    "/races/ten/standings.json",
    "/races/ten/standings.csv",
    "/races/ten/course.gpx",
    "/races/ten/course.geojson",
    "/races/ten/eta.json?at=5000",
    "/races/ten/replay.json?from=0",
]


@pytest.fixture(autouse=True)
def clear_pins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(share_links, "_wrong_pins", share_links.WrongPins())
    share_links._right_pins.clear()
    yield


@pytest.fixture
def token(db: None) -> str:
    """The token of a link to an unlisted race, with a PIN."""
    race = make_race(visibility=Race.Visibility.LINK)
    make_entry(race, "bob", "1", pace=0.3)
    _, plain = make_link(race=race, pin=PIN)
    return plain


def request(client: Client, path: str, token: str, pin: str) -> Any:
    return client.get(path, headers=headers(token, pin))


def headers(token: str, pin: str) -> dict[str, str]:
    return {"Spectate-Share": token, "Spectate-Share-Pin": pin}


def lock(client: Client, token: str) -> None:
    for number in range(10):
        wrong = request(client, "/live.json", token, f"00000{number}")
        assert (wrong.status_code, wrong.json()["code"]) == (404, "share.pin")


@pytest.mark.parametrize("path", ENDPOINTS)
def test_ten_wrong_pins_lock_the_link_for_a_minute(
    client: Client, token: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert request(client, path, token, PIN).status_code == 200
    for number in range(10):
        # A request without a PIN does not count.
        assert request(client, path, token, "").status_code == 404
        assert request(client, path, token, f"00000{number}").status_code == 404

    for answer in (
        request(client, path, token, PIN),
        request(client, path, token, "1"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (429, "rate.limited")
        assert 50 <= int(answer["Retry-After"]) <= 60
    # The other endpoints refuse it too.
    assert {request(client, other, token, PIN).status_code for other in ENDPOINTS} == {
        429
    }

    monkeypatch.setattr(share_links, "LOCK_S", 0.0)
    assert request(client, path, token, PIN).status_code == 200


def test_right_pins_do_not_lock_the_link(client: Client, token: str) -> None:
    answers = [request(client, "/live.json", token, PIN) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}


def test_the_page_of_a_locked_link_shows_an_error(client: Client, token: str) -> None:
    lock(client, token)
    answer = client.post(f"/s/{token}/", {"pin": PIN})
    assert answer.status_code == 429
    assert 50 <= int(answer["Retry-After"]) <= 60
    assert "Too many wrong PINs. Try again in a minute." in answer.content.decode()


def test_a_lock_does_not_affect_visitors_who_entered_the_pin(
    client: Client, token: str
) -> None:
    mum = Client()
    opened: HttpResponse = mum.post(f"/s/{token}/", {"pin": PIN})  # type: ignore[assignment]
    proof = page_of(opened.content.decode())["follow"]["pin"]
    assert PIN not in opened.content.decode()

    lock(client, token)

    assert request(mum, "/live.json", token, proof).status_code == 200
    assert "follow" in page_of(mum.get(f"/s/{token}/").content.decode())
    # A changed PIN ends their access.
    link = ShareLink.objects.get()
    link.pin = "changed"
    link.save()
    assert request(mum, "/live.json", token, proof).status_code == 429


def test_a_right_pin_is_hashed_once_and_not_kept(
    client: Client, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []

    def counted(pin: str, encoded: str) -> bool:
        hashed.append(pin)
        return check_password(pin, encoded)

    monkeypatch.setattr(share_links, "check_password", counted)
    for _ in range(3):
        assert request(client, "/live.json", token, PIN).status_code == 200
    assert hashed == [PIN]
    (kept,) = share_links._right_pins
    assert PIN.encode() not in kept


async def test_guesses_do_not_occupy_the_threads_of_other_requests(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise forty concurrent guesses delay `live.json` for all visitors by 13 s."""
    go_on = Event()

    def slow(pin: str, encoded: str) -> bool:
        go_on.wait(PATIENCE_S)
        return False

    monkeypatch.setattr(share_links, "check_password", slow)
    guesses = [
        asyncio.create_task(
            AsyncClient().get(path, headers=headers(token, f"{number:06}"))
        )
        for number in range(6)
        for path in ENDPOINTS
    ]
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S / 2):
            answer = await AsyncClient().get("/live.json?public=1")
        assert answer.status_code == 200
        assert not any(guess.done() for guess in guesses)
    finally:
        go_on.set()
        answers = await asyncio.gather(*guesses)
    # Only ten were hashed, although no result was known when the requests arrived.
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(404), statuses.count(429)) == (10, len(guesses) - 10)
