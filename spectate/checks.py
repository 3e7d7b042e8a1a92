"""System checks: a set-up that would fail later says so now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from django.apps import AppConfig
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.checks import CheckMessage, Error, Warning, register

MAP_LIBRARY = "vendor/maplibre-gl/maplibre-gl.mjs"
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}


@register
def check_set_up(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    return [*workers(), *redis_client(), *open_mode(), *map_library(), *public_url()]


def workers() -> Iterator[CheckMessage]:
    if settings.WORKERS == 1:
        return
    if not settings.REDIS_URL:
        yield Error(
            f"WORKERS={settings.WORKERS} needs REDIS_URL: without Redis a follower "
            "would see only the runners that reach the same process.",
            hint="Set REDIS_URL=redis://HOST:6379 or WORKERS=1.",
            id="spectate.E001",
        )
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        yield Warning(
            f"WORKERS={settings.WORKERS} on SQLite: one process at a time can write.",
            hint="Set DATABASE_URL=postgres://USER:PASSWORD@HOST/NAME.",
            id="spectate.W001",
        )


def redis_client() -> Iterator[CheckMessage]:
    if int(redis.__version__.split(".")[0]) >= 8:
        yield Error(
            f"redis-py {redis.__version__} loses sockets that have been idle "
            "(channels_redis#422).",
            hint="Install what requirements.txt pins: pip install -r requirements.txt",
            id="spectate.E002",
        )


def open_mode() -> Iterator[CheckMessage]:
    if settings.SPECTATE_OPEN and not settings.DEBUG:
        yield Warning(
            "SPECTATE_OPEN=1 in production: anyone may publish for any runner.",
            hint="Unset it unless that is what you want.",
            id="spectate.W002",
        )


def map_library() -> Iterator[CheckMessage]:
    collected = Path(settings.STATIC_ROOT) / MAP_LIBRARY
    if not collected.exists() and not finders.find(MAP_LIBRARY):
        yield Warning(
            "The map library is not installed: pages show no map.",
            hint="Run `make setup`.",
            id="spectate.W003",
        )


def public_url() -> Iterator[CheckMessage]:
    public = urlsplit(settings.PUBLIC_URL)
    if (
        not settings.DEBUG
        and public.scheme == "http"
        and public.hostname not in LOCAL_HOSTS
    ):
        yield Warning(
            f"PUBLIC_URL={settings.PUBLIC_URL} is plain HTTP: passwords and tokens "
            "can be read on the way, and browsers share no place.",
            hint="Put a proxy with a certificate in front and set PUBLIC_URL=https://….",
            id="spectate.W004",
        )
