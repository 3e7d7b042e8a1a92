from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from spectate import settings
from tests.servers import ROOT, clean_environment

SECRET = "a secret for this test, long enough"


def start(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=clean_environment(DATABASE_URL="sqlite://:memory:", **env),
        capture_output=True,
        text=True,
    )


def refusal(*command: str, **env: str) -> str:
    """Run a command; it must fail with one line, which is returned."""
    done = start(*command, **env)
    assert done.returncode, "It did not refuse."
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_production_needs_a_secret_to_serve() -> None:
    assert "SECRET_KEY is not set" in refusal("manage.py", "serve")


def test_production_needs_a_long_secret() -> None:
    assert "could be guessed" in refusal("manage.py", "serve", SECRET_KEY="x")


def test_production_needs_two_variables_for_open_mode() -> None:
    message = refusal("manage.py", "serve", SECRET_KEY=SECRET, SPECTATE_OPEN="1")
    assert "SPECTATE_OPEN_IN_PRODUCTION=1" in message


def test_commands_need_no_secret() -> None:
    assert start("manage.py", "check").returncode == 0


def test_an_invalid_variable_is_refused_in_one_line() -> None:
    message = refusal("manage.py", "check", PORT="http")
    assert (
        message
        == "Settings: PORT must be a whole number from 1 to 65535, not 'http'.\n"
    )


def read(monkeypatch: pytest.MonkeyPatch, **env: str) -> dict[str, Any]:
    """Read the settings with only these variables in the environment."""
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(ROOT / "spectate/settings.py"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("WORKERS", "0"),
        ("WORKERS", "-1"),
        ("WORKERS", "two"),
        ("DEBUG", "maybe"),
        ("SPECTATE_OPEN", "2"),
        ("PUBLIC_URL", "run.example"),
        ("PUBLIC_URL", "ftp://run.example"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https://run.example/live"),
        ("PUBLIC_URL", "https://run.example:https"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "redis://one,two"),
        ("SPECTATE_MAP_STYLE", "style.json"),
        ("SPECTATE_MQTT_URL", "broker.example"),
        ("SPECTATE_MQTT_URL", "mqtts://bob:hunter2@"),
        ("ALLOWED_HOSTS", "https://run.example"),
        ("ALLOWED_HOSTS", "run.example:8080"),
        ("TRUSTED_PROXIES", "nginx"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("DATABASE_URL", "mysql://bob:hunter2@db/spectate"),
        ("DATABASE_URL", "postgres://bob:hun#ter2@db/spectate"),
        ("DATABASE_URL", "postgres://bob:hunter2@db"),
        ("DATABASE_URL", "sqlite://spectate.sqlite3"),
        ("DATABASE_URL", "spectate.sqlite3"),
        ("EMAIL_URL", "mail://bob:hunter2@mail.example"),
        ("EMAIL_URL", "smtp://bob:hunter2@mail.example:smtp"),
    ],
)
def test_an_invalid_variable_is_named_and_no_password_is_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        read(monkeypatch, **{name: value})
    message = str(refused.value)
    assert message.startswith(name)
    assert "\n" not in message
    assert "hunter2" not in message


def test_pushes_to_private_addresses_are_refused_in_production(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    production = {"DEBUG": "0", "SECRET_KEY": SECRET}
    for env in (production, {"DEBUG": "1"}):
        assert read(monkeypatch, **env)["SPECTATE_PUSH_LOCAL"] is False
    with pytest.raises(ImproperlyConfigured, match="SPECTATE_PUSH_LOCAL=1"):
        read(monkeypatch, **production, SPECTATE_PUSH_LOCAL="1")


@pytest.mark.parametrize(
    ("name", "value", "setting", "expected"),
    [
        (
            *("ALLOWED_HOSTS", "run.example, .run.example,10.0.0.1,[::1]"),
            *("ALLOWED_HOSTS", ["run.example", ".run.example", "10.0.0.1", "[::1]"]),
        ),
        (
            *("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,::1"),
            *("TRUSTED_PROXIES", ["127.0.0.1", "10.0.0.0/8", "::1"]),
        ),
        (
            *("EMAIL_URL", "submission://bob:hun%40ter2@mail.example"),
            *("EMAIL_HOST_PASSWORD", "hun@ter2"),
        ),
        ("PUBLIC_URL", "https://[::1]:8443/", "PUBLIC_URL", "https://[::1]:8443"),
    ],
)
def test_valid_variables_are_accepted(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    setting: str,
    expected: object,
) -> None:
    assert read(monkeypatch, **{name: value})[setting] == expected


def test_a_database_is_named_by_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    by_user = read(monkeypatch, DATABASE_URL="postgres:///spectate")
    assert by_user["DATABASES"]["default"]["NAME"] == "spectate"
    assert not by_user["DATABASES"]["default"]["HOST"]
    file = read(monkeypatch, DATABASE_URL="sqlite:////srv/spectate.sqlite3")
    assert file["DATABASES"]["default"]["NAME"] == "/srv/spectate.sqlite3"


def test_redis_may_have_several_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = ["redis://one:6379", "rediss://:hunter2@two:6379/1"]
    layers = read(monkeypatch, REDIS_URL=", ".join(hosts))["CHANNEL_LAYERS"]
    assert layers["default"]["CONFIG"]["hosts"] == hosts


def test_limits_are_counted_in_redis_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts = "redis://one:6379,redis://two:6379"
    cache = read(monkeypatch, REDIS_URL=hosts)["CACHES"]["default"]
    assert cache["BACKEND"].endswith(".RedisCache")
    # Several hosts would be read-only replicas of the first.
    assert cache["LOCATION"] == "redis://one:6379"


def test_settings_example_and_documents_name_the_same_variables() -> None:
    def named(path: str, pattern: str) -> set[str]:
        return set(re.findall(pattern, (ROOT / path).read_text(), re.MULTILINE))

    known = settings.ENVIRONMENT_VARIABLES
    assert named(".env.example", r"^#?([A-Z_]+)=") == known
    row = r"^\| `([A-Z_]+)`"
    assert named("docs/deploying.md", row) == known
    assert named("README.md", row) <= known
    # No variable is read without these helpers.
    assert len(re.findall(r"environ\b", Path(settings.__file__).read_text())) == 1


def test_the_example_is_a_working_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    env = dict(line.lstrip("#").split("=", 1) for line in lines if "=" in line)
    example = read(monkeypatch, **env | {"SECRET_KEY": SECRET})
    assert example["DATABASES"]["default"]["NAME"] == "spectate"


@pytest.mark.parametrize(
    ("env", "expression", "expected"),
    [
        ({}, "DEBUG", "False"),
        ({"PUBLIC_URL": "https://run.example"}, "SESSION_COOKIE_SECURE", "True"),
        ({"PUBLIC_URL": "https://run.example"}, "SECURE_SSL_REDIRECT", "True"),
        ({"PUBLIC_URL": "https://run.example"}, "SECURE_HSTS_PRELOAD", "False"),
        (
            {"PUBLIC_URL": "https://run.example:8443/"},
            "CSRF_TRUSTED_ORIGINS",
            "['https://run.example:8443']",
        ),
        ({"PUBLIC_URL": "http://run.example"}, "SESSION_COOKIE_SECURE", "False"),
        (
            {"PUBLIC_URL": "http://run.example"},
            "SECURE_CROSS_ORIGIN_OPENER_POLICY",
            "None",
        ),
        (
            {"PUBLIC_URL": "http://run.example"},
            "ALLOWED_HOSTS",
            "['run.example', 'localhost', '127.0.0.1']",
        ),
        ({"PORT": "9000"}, "PUBLIC_URL", "http://localhost:9000"),
    ],
)
def test_settings_follow_the_environment(
    env: dict[str, str], expression: str, expected: str
) -> None:
    code = f"from django.conf import settings; print(settings.{expression})"
    done = start(
        "-c",
        code,
        SECRET_KEY=SECRET,
        DJANGO_SETTINGS_MODULE="spectate.settings",
        **env,
    )
    assert done.stdout.strip() == expected, done.stderr
