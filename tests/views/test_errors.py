from __future__ import annotations

import pytest
from django.conf import LazySettings
from django.test import Client

from runners.api import access
from runners.views import live

OUR_PAGES = "runners.views.errors.NotFoundPage"


@pytest.fixture(params=[True, False], ids=["debug", "production"])
def mode(request: pytest.FixtureRequest, settings: LazySettings) -> None:
    """Both modes, because visitors may use a development server too."""
    settings.DEBUG = request.param
    settings.DEFAULT_EXCEPTION_REPORTER = "runners.views.errors.PlainExceptionReporter"
    if OUR_PAGES not in settings.MIDDLEWARE:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, OUR_PAGES]


@pytest.mark.parametrize("path", ["/nothing/here/", "/runners/nobody/"])
def test_not_found_has_our_design(
    mode: None, client: Client, db: None, path: str
) -> None:
    response = client.get(path)
    assert response.status_code == 404
    html = response.content.decode()
    assert "Page not found" in html
    assert "urlpatterns" not in html


def test_a_failure_shows_no_traceback(
    mode: None, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "map_assets", lambda: 1 // 0)
    response = Client(raise_request_exception=False).get("/")
    assert response.status_code == 500
    html = response.content.decode()
    assert "Something went wrong" in html
    assert "ZeroDivisionError" not in html
    assert "Traceback" not in html


def test_a_missing_slash_is_added(mode: None, client: Client, db: None) -> None:
    assert client.get("/sign-in").headers["Location"] == "/sign-in/"


@pytest.mark.parametrize(
    ("method", "path", "host", "code", "of_api"),
    [
        ("GET", "/nothing.json", "testserver", 404, "address.unknown"),
        ("POST", "/live.json", "testserver", 405, "method.unsupported"),
        ("PUT", "/races/x/course.geojson", "testserver", 405, "method.unsupported"),
        ("GET", "/words/de/1.json", "evil.example", 400, "request.invalid"),
    ],
)
def test_addresses_for_programs_answer_errors_as_json(
    mode: None, db: None, method: str, path: str, host: str, code: int, of_api: str
) -> None:
    client = Client(headers={"host": host}, raise_request_exception=False)
    answer = client.generic(method, path)
    assert (answer.status_code, answer.json()["code"]) == (code, f"http.{code}")
    # The API has an address for GET and PUT, none named so, and the same hosts.
    path = "/api/v1/races/x/waves" if code == 405 else "/api/v1/nothing/"
    answer = client.generic("DELETE" if code == 405 else method, path)
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (code, of_api)
    assert problem["status"] == code and problem["detail"]
    assert ("Allow" in answer) is (code == 405)


def test_a_failure_of_an_address_for_programs_is_json(
    mode: None, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(raise_request_exception=False)
    monkeypatch.setattr(access.KeyInHeader, "authenticate", lambda *args: 1 // 0)
    answer = client.get("/api/v1/races", headers={"authorization": "Bearer x"})
    assert (answer.status_code, answer.json()["code"]) == (500, "server.failed")
