"""Links and QR codes: a different library decodes them, and their addresses work."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest
import zxingcpp
from django.urls import resolve
from numpy import array, uint8
from pytest_django import Settings

from runners.intake.endpoint import APPS, request_token, split_path
from runners.intake.setup import PHONE_APPS, Setup
from runners.views.browser_phone import browser_phone
from tests.factories.people import make_runner
from tests.intake.phones import Phone
from tests.servers import Server

# A text as long as a token of `RunnerToken.objects.issue`.
TOKEN = "R_iP5ndv8o6gicjbunpHUyM7N9WiCsxfcAOOTviY8BA"


@pytest.fixture(autouse=True)
def public_url(settings: Settings) -> None:
    settings.PUBLIC_URL = "https://live.example.org"


def decoded(setup: Setup) -> str:
    """Decode the QR code of a page as a camera would."""
    rows = setup.drawn.matrix_iter(scale=4, border=4)
    image = array([[0 if dark else 255 for dark in row] for row in rows], uint8)
    (found,) = zxingcpp.read_barcodes(image)
    text: str = found.text
    return text


@pytest.mark.parametrize("key", PHONE_APPS)
def test_a_qr_code_is_decoded_by_a_different_library(key: str) -> None:
    setup = PHONE_APPS[key].make("bob", TOKEN)
    assert decoded(setup) == setup.code
    assert setup.qr.startswith("<svg") and "script" not in setup.qr


def test_an_owntracks_link_contains_the_configuration() -> None:
    link = urlsplit(decoded(PHONE_APPS["owntracks"].make("bob", TOKEN)))
    assert (link.scheme, link.path) == ("owntracks", "/config")
    (inline,) = parse_qs(link.query)["inline"]
    config = json.loads(base64.b64decode(inline))
    assert config["_type"] == "configuration"
    assert (config["mode"], config["monitoring"]) == (3, 2)
    assert config["url"] == "https://live.example.org/intake/owntracks/"
    assert (config["username"], config["password"]) == ("bob", TOKEN)
    assert len(config["tid"]) == 2
    assert config["locatorInterval"] <= 10 and config["locatorDisplacement"] <= 20


def test_an_overland_link_sets_address_and_token() -> None:
    link = urlsplit(decoded(PHONE_APPS["overland"].make("bob", TOKEN)))
    assert (link.scheme, link.netloc) == ("overland", "setup")
    assert parse_qs(link.query) == {
        "url": ["https://live.example.org/intake/overland/"],
        "token": [TOKEN],
        "device_id": ["bob"],
    }


def test_a_traccar_link_and_code_set_dense_tracking() -> None:
    setup = PHONE_APPS["traccar"].make("bob", TOKEN)
    code, link = urlsplit(decoded(setup)), urlsplit(setup.link)
    server = f"https://live.example.org/intake/osmand/{TOKEN}/"
    assert f"{code.scheme}://{code.netloc}{code.path}" == server
    assert link.scheme == "org.traccar.client"
    values = parse_qs(link.query)
    assert values.pop("url") == [server]
    assert parse_qs(code.query) == values
    assert values["accuracy"] == ["highest"]
    assert values["stop_detection"] == ["false"]
    assert values["buffer"] == ["true"]
    assert int(values["interval"][0]) <= 10 and int(values["distance"][0]) <= 20


def test_a_gpslogger_link_leads_to_its_profile() -> None:
    link = decoded(PHONE_APPS["gpslogger"].make("bob", TOKEN))
    url = link.removeprefix("gpslogger://properties/")
    assert split_path(urlsplit(url).path) == ("gpslogger", TOKEN, "spectate.properties")


def test_a_browser_link_opens_the_page_and_sends_the_token_to_no_server() -> None:
    setup = PHONE_APPS["browser"].make("bob", TOKEN)
    link = urlsplit(decoded(setup))
    assert f"{link.scheme}://{link.netloc}" == "https://live.example.org"
    assert resolve(link.path).func is browser_phone
    assert TOKEN not in link.path and not link.query
    # This is how static/js/phone/account.js reads it.
    assert parse_qs(link.fragment) == {"token": [TOKEN]}
    assert setup.link == link.geturl()


@pytest.mark.parametrize("key", ["osmand", "generic"])
def test_an_address_to_paste_contains_app_and_token(key: str) -> None:
    url = urlsplit(decoded(PHONE_APPS[key].make("bob", TOKEN)))
    name, token, rest = split_path(url.path)
    assert name in APPS and not rest
    assert request_token({}, token, {}) == TOKEN


def test_links_work_on_a_server(uvicorn_server: Server, settings: Settings) -> None:
    settings.PUBLIC_URL = uvicorn_server.url
    uvicorn_server.database(make_runner, "bob")
    with Phone(uvicorn_server) as phone:
        template = decoded(PHONE_APPS["osmand"].make("bob", phone.token))
        filled = template.format(53.3566, -6.3285, 1780210800000, 4, 21.5, 3.1, 184)
        url = urlsplit(filled)
        path = f"{url.path}?{url.query}"
        assert phone.send(path, method="GET").status == 200
        (fix,) = phone.stored()
        assert (fix["lat"], fix["speed"], fix["heading"]) == (53.3566, 3.1, 184)
        # A link that a browser opens instead of the app stores nothing.
        url = urlsplit(decoded(PHONE_APPS["traccar"].make("bob", phone.token)))
        assert phone.send(f"{url.path}?{url.query}", method="GET").status == 200
        assert len(phone.stored()) == 1
