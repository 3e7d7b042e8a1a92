"""The browser as a phone: a public page, and a token for its runner only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client

from runners.models import Runner, RunnerToken


def test_the_page_is_the_same_for_everybody(client: Client, bob_client: Client) -> None:
    stranger, signed_in = client.get("/share/"), bob_client.get("/share/")
    # A service worker caches it, so it must not contain personal data.
    assert stranger.content == signed_in.content
    assert not signed_in.cookies
    assert "Cookie" not in signed_in.get("Vary", "")


def test_the_account_shows_who_is_signed_in(
    client: Client, alice_client: Client, bob_client: Client
) -> None:
    answers = [c.get("/share/me.json") for c in (client, alice_client, bob_client)]
    assert [(a.json()["signedIn"], a.json()["runner"]) for a in answers] == [
        (False, None),
        (True, None),
        (True, {"code": "bob", "name": "Bob"}),
    ]
    assert "no-store" in answers[2]["Cache-Control"]


def test_a_token_is_listed_with_its_browser_and_can_be_revoked(
    bob_client: Client, bob: Runner
) -> None:
    made = bob_client.post("/share/token/", {"device": "Chrome, Android\n" + "x" * 99})
    token = bob.tokens.get()
    assert token.name.startswith("Browser (Chrome, Androidxxx")
    assert token.name in bob_client.get("/me/").content.decode()
    assert made.json() == {
        "token": made.json()["token"],
        "runner": "bob",
        "name": "Bob",
    }
    bearer = f"Bearer {made.json()['token']}"
    owner = Client().get("/share/token/", headers={"authorization": bearer})
    assert owner.json() == {"runner": "bob", "name": "Bob"}
    bob_client.post(f"/me/tokens/{token.pk}/revoke/")
    owner = Client().get("/share/token/", headers={"authorization": bearer})
    assert owner.status_code == 401
    assert "no-store" in owner["Cache-Control"]


@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer x", "Basic x"])
def test_a_request_without_a_valid_token_is_refused(
    client: Client, bob: Runner, authorization: str
) -> None:
    headers = {"authorization": authorization}
    assert client.get("/share/token/", headers=headers).status_code == 401


def test_only_a_runner_can_create_a_token(client: Client, alice_client: Client) -> None:
    assert client.post("/share/token/").status_code == 403
    assert alice_client.post("/share/token/").status_code == 403
    assert not RunnerToken.objects.exists()


def test_a_different_site_cannot_create_a_token(
    bob: Runner, bobs_account: User
) -> None:
    bob.account = bobs_account
    bob.save()
    client = Client(enforce_csrf_checks=True)
    client.force_login(bobs_account)
    assert client.post("/share/token/").status_code == 403
    csrf = client.get("/share/me.json").json()["csrf"]
    answer = client.post("/share/token/", headers={"x-csrftoken": csrf})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("/static/js/phone/worker.js", "/share/"),
        ("/static/js/offline/worker.js", "/"),
        ("/static/js/phone/page.js", None),
    ],
)
def test_the_service_worker_is_limited_to_the_page(
    url: str, allowed: str | None
) -> None:
    headers: dict[str, str] = {}
    settings.WHITENOISE_ADD_HEADERS_FUNCTION(headers, "", url)
    assert headers.get("Service-Worker-Allowed") == allowed


def test_all_files_of_the_worker_and_the_manifest_exist() -> None:
    static = Path(settings.BASE_DIR) / "static"
    manifest = json.loads((static / "phone.webmanifest").read_text())
    icons = {icon["src"] for icon in manifest["icons"]}
    assert {"icons/phone-192.png", "icons/phone-512.png"} <= icons
    worker = (static / "js/phone/worker.js").read_text()
    cached = [line.strip()[1:-2] for line in worker.splitlines() if line[:3] == '  "']
    assert len(cached) > 15
    assert all(finders.find(path) for path in [*icons, *cached])


def test_cheers_are_turned_off_and_on_again(bob_client: Client, bob: Runner) -> None:
    for wanted in ("off", "on"):
        bob_client.post("/me/cheers/", {"cheers": wanted})
        bob.refresh_from_db()
        assert bob.cheers == (wanted == "on")
