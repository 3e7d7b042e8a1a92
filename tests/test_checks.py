from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import redis
from pytest_django import Settings

from spectate import checks
from tests.servers import ROOT, clean_environment


def ids() -> list[str | None]:
    return [message.id for message in checks.check_set_up(None)]


def on(engine: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    database = settings.DATABASES["default"]
    monkeypatch.setitem(database, "ENGINE", f"django.db.backends.{engine}")


@pytest.fixture(autouse=True)
def sound(settings: Settings, tmp_path: Path) -> None:
    """A production set-up in which nothing is wrong."""
    settings.DEBUG = False
    settings.WORKERS = 1
    settings.REDIS_URL = ""
    settings.SPECTATE_OPEN = False
    settings.PUBLIC_URL = "https://run.example"
    settings.STATIC_ROOT = tmp_path
    library = tmp_path / checks.MAP_LIBRARY
    library.parent.mkdir(parents=True)
    library.touch()


def test_checks_have_nothing_against_a_sound_set_up() -> None:
    assert ids() == []


def test_several_workers_need_redis(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WORKERS = 2
    on("postgresql", settings, monkeypatch)
    assert ids() == ["spectate.E001"]
    settings.REDIS_URL = "redis://localhost"
    assert ids() == []


def test_several_workers_on_sqlite_are_warned_of(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WORKERS = 2
    settings.REDIS_URL = "redis://localhost"
    on("sqlite3", settings, monkeypatch)
    assert ids() == ["spectate.W001"]


def test_redis_client_8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "__version__", "8.0.0")
    assert ids() == ["spectate.E002"]


def test_open_mode_is_warned_of_only_in_production(settings: Settings) -> None:
    settings.SPECTATE_OPEN = True
    assert ids() == ["spectate.W002"]
    settings.DEBUG = True
    assert "spectate.W002" not in ids()


def test_missing_map_library_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    settings.STATIC_ROOT = tmp_path / "nothing"
    monkeypatch.setattr(checks, "MAP_LIBRARY", "vendor/nothing.mjs")
    (message,) = checks.check_set_up(None)
    assert message.id == "spectate.W003"
    assert "make setup" in str(message.hint)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://run.example", ["spectate.W004"]),
        ("http://localhost:8080", []),
        ("http://127.0.0.1:8080", []),
    ],
)
def test_plain_http_is_warned_of_outside_this_machine(
    settings: Settings, url: str, expected: list[str]
) -> None:
    settings.PUBLIC_URL = url
    assert ids() == expected


def test_deployment_checks_are_clean_behind_https() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"],
        cwd=ROOT,
        env=clean_environment(
            SECRET_KEY="a key that is long enough for Django's own check, with 0123",
            PUBLIC_URL="https://run.example",
        ),
        capture_output=True,
        text=True,
    )
    # Whether this checkout has its static files collected is not the question.
    others = [
        line for line in done.stderr.splitlines() if "(spectate.W003)" not in line
    ]
    assert not [line for line in others if ": (" in line], done.stderr
