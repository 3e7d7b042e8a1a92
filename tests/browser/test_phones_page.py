"""A runner sets up a phone on the page and sees that it works."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page

from tests.browser.pages import LivePage, sign_in
from tests.factories.people import make_runner, make_user
from tests.servers import Server


@pytest.fixture(scope="module")
def account(web_server: Server) -> User:
    """The account of Bob, who runs."""
    account = web_server.database(make_user, "bob")
    web_server.database(make_runner, "bob", account=account)
    return account


@pytest.fixture
def bob(page: LivePage, web_server: Server, account: User) -> Page:
    """Bob's page of phones."""
    sign_in(page.page.context, web_server, account)
    page.page.goto("/runners/bob/phones/")
    return page.page


def send(server: Server, config: dict[str, str], **more: object) -> None:
    """Send a position as OwnTracks does with this configuration."""
    location = {
        "_type": "location",
        "tst": int(time.time()),
        "lat": 53.3566,
        "lon": -6.3285,
        "acc": 5,
    }
    user = f"{config['username']}:{config['password']}".encode()
    request = urllib.request.Request(
        server.url + urlsplit(config["url"]).path,
        json.dumps(location | more).encode(),
        {
            "Content-Type": "application/json",
            "Authorization": f"Basic {base64.b64encode(user).decode()}",
        },
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.read() == b"[]"


def test_a_phone_is_ok_after_its_first_fix(bob: Page, web_server: Server) -> None:
    bob.click("button[value=owntracks]")
    bob.wait_for_selector(".diagnosis[data-state=waiting]")
    link = urlsplit(bob.get_attribute("#link", "href") or "")
    config = json.loads(base64.b64decode(parse_qs(link.query)["inline"][0]))
    send(web_server, config, acc=900)
    bob.wait_for_selector(".diagnosis[data-state=problem]")
    assert "accurate to 900 m" in bob.inner_text(".problems")
    send(web_server, config, tst=int(time.time()) + 1)
    send(web_server, config, tst=int(time.time()) + 2)
    bob.wait_for_selector(".diagnosis[data-state=ok]")


def test_the_setup_fits_the_screen(bob: Page) -> None:
    bob.click("button[value=osmand]")
    bob.wait_for_selector(".qr")
    bob.wait_for_load_state("load")
    for width in (390, 1280):
        bob.set_viewport_size({"width": width, "height": 844})
        assert bob.evaluate("document.documentElement.scrollWidth") <= width
        box = bob.locator(".qr").bounding_box()
        assert box is not None and 200 < box["width"] <= 280
