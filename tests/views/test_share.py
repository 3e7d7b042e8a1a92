from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from runners.models import Runner, ShareLink
from tests.factories.races import make_bare_race

HOUR = timedelta(hours=1)


def issue(*runners: Runner, **more: Any) -> tuple[ShareLink, str]:
    options: dict[str, Any] = {"label": "Mum", "expires_at": timezone.now() + HOUR}
    options |= more
    if "race" not in options:
        options["runners"] = list(runners)
    link, plain = ShareLink.objects.issue(**options)
    return link, f"/s/{plain}/"


def page_of(html: str) -> dict[str, Any]:
    """Return the data that the page has for its script."""
    found = re.search(r'id="page" type="application/json">(.*?)</script>', html)
    assert found
    page: dict[str, Any] = json.loads(found[1])
    return page


def test_a_link_shows_a_private_runner_without_an_account(
    client: Client, bob: Runner
) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility=Runner.Visibility.PRIVATE)
    link, path = issue(bob)
    html = client.get(path).content.decode()
    assert "<h1>Bob</h1>" in html
    assert "Mum" not in html
    page = page_of(html)
    assert page["follow"]["share"] == path.split("/")[2]
    assert page["oneRunner"] == "bob"
    link.refresh_from_db()
    assert link.views == 1


# Views of data read in separate threads, which see committed rows only.
@pytest.mark.django_db(transaction=True)
def test_data_that_a_page_loads_by_its_link_counts_no_view(
    client: Client, bob: Runner
) -> None:
    Runner.objects.filter(pk=bob.pk).update(visibility=Runner.Visibility.PRIVATE)
    link, path = issue(bob)
    client.get(path)
    headers = {"Spectate-Share": path.split("/")[2]}
    for data in ("/live.json?runners=bob", "/runners/bob/track.json"):
        answer = client.get(data, headers=headers)
        assert answer.status_code == 200
        assert not answer.json().get("refused")
    link.refresh_from_db()
    assert link.views == 1


def test_a_link_to_several_runners_names_them(client: Client, bob: Runner) -> None:
    eve = Runner.objects.create(code="eve", name="Eve")
    _, path = issue(bob, eve)
    html = client.get(path).content.decode()
    assert "<h1>Bob and Eve</h1>" in html
    assert page_of(html)["oneRunner"] is None


def test_a_link_to_a_race_shows_its_course(client: Client, db: None) -> None:
    race = make_bare_race("half")
    _, path = issue(race=race)
    html = client.get(path).content.decode()
    assert "<h1>Half</h1>" in html
    assert page_of(html)["race"]["slug"] == "half"


def test_a_link_does_not_leak_its_address(alice_client: Client, bob: Runner) -> None:
    _, path = issue(bob)
    for client in (Client(), alice_client):
        response = client.get(path)
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "noindex" in response.headers["X-Robots-Tag"]
        assert "no-store" in response.headers["Cache-Control"]
        html = response.content.decode()
        # Count the view once, at the first message on the websocket.
        assert html.count(path.split("/")[2]) == 1


@pytest.mark.parametrize("client_is_bob", [True, False])
def test_an_ended_link_shows_the_reason(
    client: Client, bob_client: Client, bob: Runner, client_is_bob: bool
) -> None:
    visitor = bob_client if client_is_bob else client
    link, revoked = issue(bob)
    link.revoke()
    _, expired = issue(bob, expires_at=timezone.now() - HOUR)
    for path, status, text in (
        (revoked, 410, "This link was revoked."),
        (expired, 410, "This link expired on"),
        ("/s/never/", 404, "This link does not exist."),
    ):
        response = visitor.get(path)
        assert response.status_code == status
        assert text in response.content.decode()
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "noindex" in response.headers["X-Robots-Tag"]
    link.refresh_from_db()
    assert link.views == 0


def test_a_pin_is_required(client: Client, bob: Runner) -> None:
    link, path = issue(bob, pin="4711")
    html = client.get(path).content.decode()
    assert "This link has a PIN" in html
    assert "Bob" not in html
    html = client.post(path, {"pin": "1234"}).content.decode()
    assert "The PIN is wrong." in html
    assert "Bob" not in html
    html = client.post(path, {"pin": " 4711 "}).content.decode()
    assert page_of(html)["follow"]["pin"]
    link.refresh_from_db()
    assert link.views == 1


def test_a_pin_needs_a_csrf_token(bob: Runner) -> None:
    _, path = issue(bob, pin="4711")
    client = Client(enforce_csrf_checks=True)
    assert client.post(path, {"pin": "4711"}).status_code == 403
    # With "no-referrer" a browser sends no origin that could be checked.
    assert client.get(path).headers["Referrer-Policy"] == "same-origin"
