"""A runner sets a phone up on the page and sees it turn green."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.pages import LivePage
from tests.servers import Server

ACCOUNT = """
from django.contrib.auth.models import User
from runners.models import Runner
bob = User.objects.create_user("bob", password="a long walk by the river")
Runner.objects.create(code="bob", name="Bob", account=bob)
"""


@pytest.fixture(scope="module")
def bob(web_server: Server) -> None:
    web_server.manage("shell", "-v0", "-c", ACCOUNT)


def send(server: Server, config: dict[str, str], **more: object) -> None:
    """Send a position as OwnTracks does that was set up with this configuration."""
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


def test_phone_turns_green_at_its_first_fix(
    page: LivePage, web_server: Server, bob: None
) -> None:
    browser = page.page
    browser.goto("/sign-in/?next=/runners/bob/phones/")
    browser.fill("[name=username]", "bob")
    browser.fill("[name=password]", "a long walk by the river")
    browser.click("button.primary")
    browser.click("button[value=owntracks]")
    browser.wait_for_selector(".diagnosis[data-state=waiting]")
    link = urlsplit(browser.get_attribute("#link", "href") or "")
    config = json.loads(base64.b64decode(parse_qs(link.query)["inline"][0]))
    send(web_server, config, acc=900)
    browser.wait_for_selector(".diagnosis[data-state=problem]")
    assert "accurate to 900 m" in browser.inner_text(".problems")
    send(web_server, config, tst=int(time.time()) + 1)
    send(web_server, config, tst=int(time.time()) + 2)
    browser.wait_for_selector(".diagnosis[data-state=ok]")


@pytest.mark.parametrize("width", [390, 1280])
def test_setup_fits_the_screen(
    page: LivePage, web_server: Server, bob: None, width: int
) -> None:
    browser = page.page
    browser.set_viewport_size({"width": width, "height": 844})
    browser.goto("/sign-in/?next=/runners/bob/phones/")
    browser.fill("[name=username]", "bob")
    browser.fill("[name=password]", "a long walk by the river")
    browser.click("button.primary")
    browser.click("button[value=osmand]")
    browser.wait_for_selector(".qr")
    browser.wait_for_load_state("load")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    box = browser.locator(".qr").bounding_box()
    assert box is not None and 200 < box["width"] <= 280
