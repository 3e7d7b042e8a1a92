"""The link with which a runner stops sharing without a sign-in."""

from __future__ import annotations

import logging
import re

import pytest
from django.test import Client

from runners.models import Runner


def make_link(bob_client: Client) -> str:
    """Make a link by the page; return its path."""
    found = re.search(r"(/stop/[\w-]{43}/)", bob_client.post("/me/stop-link/").text)
    assert found
    return found[1]


def is_paused(runner: Runner) -> bool:
    return runner.pauses.filter(ended_at=None).exists()


def test_a_stop_link_pauses_sharing_by_one_post(
    bob_client: Client, bob: Runner, client: Client
) -> None:
    path = make_link(bob_client)
    page = client.get(path)
    assert "Stop sharing now" in page.text
    assert not is_paused(bob)
    assert "Sharing is stopped" in client.post(path).text
    assert is_paused(bob)
    # A second request changes nothing.
    assert "Sharing is stopped" in client.post(path).text
    assert bob.pauses.count() == 1


def test_a_stop_link_opens_nothing_else(
    bob_client: Client, bob: Runner, client: Client
) -> None:
    path = make_link(bob_client)
    page = client.get(path)
    assert "Bob" not in page.text and "bob" not in page.text
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert "no-store" in page.headers["Cache-Control"]
    assert client.get(path.replace("/stop/", "/s/")).status_code == 404
    assert "sessionid" not in client.cookies


def test_a_revoked_or_replaced_stop_link_stops_nothing(
    bob_client: Client, bob: Runner, client: Client
) -> None:
    first = make_link(bob_client)
    second = make_link(bob_client)
    bob_client.post("/me/stop-link/revoke/")
    for path in (first, second):
        assert client.post(path).status_code == 404
    assert not is_paused(bob)


def test_making_and_using_a_stop_link_is_logged_without_the_link(
    bob_client: Client, bob: Runner, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="runners")
    path = make_link(bob_client)
    client.post(path)
    bob_client.post("/me/stop-link/revoke/")
    assert [record.getMessage() for record in caplog.records] == [
        f"A stop link of runner {bob.pk} was issued",
        f"A stop link ended the sharing of runner {bob.pk}",
        f"The stop link of runner {bob.pk} was revoked",
    ]


def test_only_the_hash_of_a_stop_link_is_stored(
    bob_client: Client, bob: Runner
) -> None:
    secret = make_link(bob_client).split("/")[2]
    row = Runner.objects.filter(pk=bob.pk).values().get()
    assert len(str(row["stop_digest"])) == 64
    assert secret not in str(row)
