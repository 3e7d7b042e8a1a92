from __future__ import annotations

import pytest
from django.conf import LazySettings
from django.test import Client

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
