from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers import ROOT, clean_environment

SECRET = "a secret for this test"


def start(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=clean_environment(DATABASE_URL="sqlite://:memory:", **env),
        capture_output=True,
        text=True,
    )


def refusal(*command: str, **env: str) -> str:
    """Run it; it must fail in one line, which is returned."""
    done = start(*command, **env)
    assert done.returncode, "It did not refuse."
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_production_refuses_to_serve_without_a_secret() -> None:
    assert "SECRET_KEY is not set" in refusal("manage.py", "serve")


def test_production_refuses_open_mode_unless_it_is_asked_for_twice() -> None:
    said = refusal("manage.py", "serve", SECRET_KEY=SECRET, SPECTATE_OPEN="1")
    assert "SPECTATE_OPEN_IN_PRODUCTION=1" in said


def test_commands_need_no_secret() -> None:
    assert start("manage.py", "check").returncode == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("WORKERS", "0"),
        ("WORKERS", "-1"),
        ("WORKERS", "two"),
        ("DEBUG", "maybe"),
        ("SPECTATE_OPEN", "2"),
        ("PUBLIC_URL", "run.example"),
        ("PUBLIC_URL", "ftp://run.example"),
        ("REDIS_URL", "localhost:6379"),
        ("SPECTATE_MAP_STYLE", "style.json"),
    ],
)
def test_nonsense_is_refused_with_its_name(name: str, value: str) -> None:
    assert name in refusal("manage.py", "check", **{name: value})


@pytest.mark.parametrize(
    ("env", "expression", "expected"),
    [
        ({}, "DEBUG", "False"),
        ({"PUBLIC_URL": "https://run.example"}, "SESSION_COOKIE_SECURE", "True"),
        ({"PUBLIC_URL": "https://run.example"}, "SECURE_SSL_REDIRECT", "True"),
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
