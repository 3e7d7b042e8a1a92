from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dj_database_url
import pytest
import redis
from channels.layers import InMemoryChannelLayer
from django.contrib.staticfiles import finders
from django.db.utils import ConnectionHandler
from pytest_django import DjangoDbBlocker, Settings

from runners.views.bundle import MAP_LIBRARY
from spectate import checks
from tests.servers import ROOT, clean_environment


class WellKnownLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """Channels' own layer, which claims the methods that the hub needs."""

    async def group_send_many(self, events: object) -> None: ...


def ids() -> list[str | None]:
    return [message.id for message in checks.check_set_up(None)]


def clear_finders() -> None:
    """Make Django read the settings of static files again."""
    finders.get_finder.cache_clear()  # type: ignore[attr-defined]


def set_engine(
    engine: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = settings.DATABASES["default"]
    monkeypatch.setitem(database, "ENGINE", f"django.db.backends.{engine}")


@pytest.fixture(autouse=True)
def correct_settings(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Production settings without a problem."""
    settings.DEBUG = False
    settings.WORKERS = 1
    settings.REDIS_URL = ""
    settings.SPECTATE_OPEN = False
    settings.PUBLIC_URL = "https://run.example"
    settings.ALLOWED_HOSTS = ["run.example", "localhost"]
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    settings.STATICFILES_DIRS = []
    settings.STATICFILES_FINDERS = [
        "django.contrib.staticfiles.finders.FileSystemFinder"
    ]
    clear_finders()
    settings.STATIC_ROOT = tmp_path / "collected"
    library = settings.STATIC_ROOT / MAP_LIBRARY
    library.parent.mkdir(parents=True)
    library.touch()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100_000, 100_000))
    for name in os.environ:
        if name.startswith("SPECTATE_"):
            monkeypatch.delenv(name)
    yield
    clear_finders()


def test_correct_settings_cause_no_message() -> None:
    assert ids() == []


def test_several_workers_need_redis(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WORKERS = 2
    set_engine("postgresql", settings, monkeypatch)
    assert ids() == ["spectate.E001"]
    settings.REDIS_URL = "redis://localhost"
    assert ids() == []


def test_several_workers_on_sqlite_cause_a_warning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WORKERS = 2
    settings.REDIS_URL = "redis://localhost"
    set_engine("sqlite3", settings, monkeypatch)
    assert ids() == ["spectate.W001"]


def test_redis_client_8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "__version__", "8.0.0")
    assert ids() == ["spectate.E002"]


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("runners.live.layer.LocalLayer", []),
        # The second one only claims to have the methods.
        ("channels.layers.InMemoryChannelLayer", ["spectate.E003", "spectate.E004"]),
        ("tests.project.test_checks.WellKnownLayer", ["spectate.E004"]),
    ],
)
def test_a_custom_channel_layer_must_have_the_methods_of_ours(
    settings: Settings, backend: str, expected: list[str]
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    assert ids() == expected


def test_the_redis_layer_is_accepted(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "runners.live.layer.RedisLayer",
            "CONFIG": {"hosts": ["redis://localhost"], "prefix": "spectate."},
        }
    }
    assert ids() == []


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (["run.example"], []),
        ([".example"], []),
        (["localhost"], ["spectate.E005"]),
        (["*"], ["spectate.W005"]),
    ],
)
def test_allowed_hosts_must_include_the_public_one_and_no_wildcard(
    settings: Settings, allowed: list[str], expected: list[str]
) -> None:
    settings.ALLOWED_HOSTS = allowed
    assert ids() == expected


def test_open_mode_causes_a_warning_in_production_only(settings: Settings) -> None:
    settings.SPECTATE_OPEN = True
    assert ids() == ["spectate.W002"]
    settings.DEBUG = True
    assert "spectate.W002" not in ids()


def test_debug_causes_a_warning_with_a_public_address(settings: Settings) -> None:
    settings.DEBUG = True
    assert ids() == ["spectate.W007"]
    settings.PUBLIC_URL = "http://localhost:8080"
    assert ids() == []


def test_a_missing_map_library_causes_a_warning(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    settings.STATIC_ROOT = tmp_path
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
def test_plain_http_causes_a_warning_outside_this_machine(
    settings: Settings, url: str, expected: list[str]
) -> None:
    settings.PUBLIC_URL = url
    assert ids() == expected


def test_trusting_every_proxy_causes_a_warning(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = ["*"]
    assert ids() == ["spectate.W006"]


def test_a_misspelt_variable_causes_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECTATE_KEEP_LINE", "1")
    assert ids() == []
    monkeypatch.setenv("SPECTATE_RETENTION_DAY", "30")
    (message,) = checks.check_set_up(None)
    assert message.id == "spectate.W008"
    assert message.hint == "Did you mean SPECTATE_RETENTION_DAYS?"


def test_a_clock_before_the_installation_causes_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    (message,) = checks.check_set_up(None)
    assert message.id == "spectate.W009"
    assert "1970-01-01" in message.msg


def test_collected_files_of_a_different_version_cause_a_warning(
    settings: Settings, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "live.js").touch()
    settings.STATICFILES_DIRS = [("js", source)]
    clear_finders()
    assert ids() == ["spectate.W010"]
    collected = settings.STATIC_ROOT / "js/live.js"
    collected.parent.mkdir()
    collected.touch()
    assert ids() == []
    os.utime(collected, (0, 0))
    assert ids() == ["spectate.W010"]
    # Without collected files, a developer on this machine needs no warning.
    settings.STATIC_ROOT = tmp_path / "empty"
    settings.STATIC_ROOT.mkdir()
    assert "spectate.W010" in ids()
    settings.PUBLIC_URL = "http://localhost:8080"
    assert "spectate.W010" not in ids()


def test_few_descriptors_cause_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert ids() == ["spectate.W011"]


def test_mail_needs_a_sender(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.DEFAULT_FROM_EMAIL = "webmaster@localhost"
    assert ids() == ["spectate.W012"]
    settings.DEFAULT_FROM_EMAIL = "race@run.example"
    assert ids() == []


@pytest.fixture
def on_postgres(
    postgres_url: str,
    django_db_blocker: DjangoDbBlocker,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """A PostgreSQL database instead of the default one."""
    handler = ConnectionHandler({"default": dj_database_url.parse(postgres_url)})
    monkeypatch.setattr(checks, "connections", handler)
    with django_db_blocker.unblock():
        yield
        handler.close_all()


@pytest.mark.usefixtures("on_postgres")
def test_a_database_with_a_different_clock_causes_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert checks.check_databases(None, ["default"]) == []
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 60)
    (message,) = checks.check_databases(None, ["default"])
    assert message.id == "spectate.W009"
    apart = re.search(r"is (\+[\d.]+) s from", message.msg)
    assert apart and 55 < float(apart[1]) < 65


@pytest.mark.usefixtures("on_postgres")
def test_more_workers_than_the_database_supports_cause_a_warning(
    settings: Settings,
) -> None:
    settings.WORKERS = 30
    (message,) = checks.check_databases(None, ["default"])
    assert message.id == "spectate.W013"
    assert "280" in message.msg


def test_deployment_checks_pass_behind_https() -> None:
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
    # Collected static files of this checkout are not checked here.
    others = [
        line
        for line in done.stderr.splitlines()
        if "(spectate.W003)" not in line and "(spectate.W010)" not in line
    ]
    assert not [line for line in others if ": (" in line], done.stderr


def test_checks_and_documents_name_the_same_ids() -> None:
    source = Path(checks.__file__).read_text()
    existing = set(re.findall(r'id="(spectate\.\w+)"', source))
    documented = set(
        re.findall(
            r"^\| `(spectate\.\w+)`", (ROOT / "docs/deploying.md").read_text(), re.M
        )
    )
    assert existing == documented
