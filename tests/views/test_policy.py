from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from runners.models import Runner
from tests.factories.people import make_runner
from tests.races.field import make_race

PAGES = ["/", "/sign-in/", "/sign-up/", "/admin/login/", "/nowhere/", "/s/none/"]


def policy_of(client: Client, path: str, **more: Any) -> dict[str, list[str]]:
    header = client.get(path, **more).headers["Content-Security-Policy"]
    return {name: of for name, *of in (part.split() for part in header.split("; "))}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_a_strict_policy(client: Client, db: None, path: str) -> None:
    policy = policy_of(client, path)
    assert policy["default-src"] == ["'self'"]
    assert policy["connect-src"] == ["'self'", "ws://testserver"]
    assert policy["worker-src"] == policy["form-action"] == ["'self'"]
    assert policy["frame-ancestors"] == policy["object-src"] == ["'none'"]
    # An injected <base> would load the page's scripts from a different host.
    assert policy["base-uri"] == ["'none'"]
    assert not any("unsafe" in word for of in policy.values() for word in of)


@pytest.mark.parametrize("path", ["/me/", "/me/new/"])
def test_own_pages_have_the_policy_too(
    bob_client: Client, bob: Runner, path: str
) -> None:
    assert policy_of(bob_client, path)["default-src"] == ["'self'"]


def test_the_policy_allows_the_map_style_of_the_installation(
    client: Client, db: None, settings: Settings
) -> None:
    settings.SPECTATE_MAP_STYLE = "https://tiles.example/styles/plain.json?key=1"
    policy = policy_of(client, "/")
    assert policy["connect-src"][-1] == "https://tiles.example"
    assert policy["img-src"][-1] == "https://tiles.example"


def test_the_policy_omits_unknown_hosts(
    client: Client, db: None, settings: Settings
) -> None:
    settings.ALLOWED_HOSTS = ["ours.example"]
    policy = policy_of(client, "/", HTTP_HOST="theirs.example")
    assert policy["connect-src"] == ["'self'"]


def test_other_sites_read_public_data_without_cookies(
    client: Client, transactional_db: None
) -> None:
    make_race()
    make_runner("bob")
    for path in (
        *("/live.json", "/runners/bob/track.json", "/runners/bob/track.gpx"),
        *("/races/ten/course.gpx", "/races/ten/course.geojson"),
        *("/races/ten/standings.json", "/races/ten/standings.csv"),
        *("/races/ten/eta.json?at=5000", "/races/ten/replay.json?from=0"),
        *("/races/ten/preview.png", "/api/v1/openapi.json"),
    ):
        response = client.get(path, headers={"origin": "https://club.example"})
        assert response.status_code == 200, path
        assert response["Access-Control-Allow-Origin"] == "*"
        assert response["Access-Control-Expose-Headers"] == "ETag, Retry-After"
        assert "Access-Control-Allow-Credentials" not in response.headers
    for path in ("/", "/me/", "/races/ten/", "/api/v1/races", "/share/me.json"):
        assert "Access-Control-Allow-Origin" not in client.get(path).headers


@pytest.mark.parametrize("path", ["/live.json", "/api/v1/openapi.json", "/me/"])
def test_a_preflight_allows_conditional_reads_of_public_data(
    client: Client, db: None, path: str
) -> None:
    answer = client.options(path, headers={"origin": "https://club.example"})
    is_public = path != "/me/"
    assert (answer.status_code == 204) is is_public
    assert (answer.headers.get("Access-Control-Allow-Origin") == "*") is is_public
    allowed = answer.headers.get("Access-Control-Allow-Headers", "")
    assert ("If-None-Match" in allowed) is is_public
    assert "Pin" not in allowed and answer.content == b"" or not is_public
    headers = set(client.get(path).headers)
    secured = {"Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options"}
    assert secured <= headers and secured <= set(answer.headers)


def test_standings_may_be_framed_and_then_link_to_new_tabs(
    alice_client: Client, transactional_db: None
) -> None:
    make_race()
    framed = alice_client.get("/races/ten/standings/?embed=1")
    assert "frame-ancestors *" in framed["Content-Security-Policy"]
    assert "Sign out" not in framed.text
    assert '<base target="_blank">' in framed.text
    normal = alice_client.get("/races/ten/standings/")
    assert "frame-ancestors 'none'" in normal["Content-Security-Policy"]
    assert "<base" not in normal.text


def test_only_embedded_pages_may_be_framed(alice_client: Client, bob: Runner) -> None:
    framed = alice_client.get("/?embed=1")
    assert "frame-ancestors *" in framed["Content-Security-Policy"]
    assert "X-Frame-Options" not in framed.headers
    # Embedded pages have no actions of the visitor's account.
    assert "Sign out" not in framed.content.decode()
    assert '"account": null' in framed.content.decode()
    for path in ("/?screen=1", "/me/?embed=1", "/sign-in/?embed=1"):
        response = alice_client.get(path, follow=True)
        assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
        assert response["X-Frame-Options"] == "DENY"
