"""System checks: configuration errors that would fail later are reported now.

docs/deploying.md lists them. Those of the database run in `migrate` and in `check
--database default`; the others before most commands, including `serve`.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from channels.layers import get_channel_layer
from django.apps import AppConfig
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from django.http.request import validate_host

from runners.views.bundle import MAP_LIBRARY
from spectate.static import StaticFiles

LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}
# Fewer descriptors are too few for a race.
FEW_DESCRIPTORS = 4096
# The greatest difference of two clocks.
CLOCKS_APART_S = 2.0
# The greatest age of a file that was just written.
JUST_WRITTEN_S = 60.0
# Connections to PostgreSQL: per worker, and for pages and commands.
CONNECTIONS_PER_WORKER = 9
OTHER_CONNECTIONS = 10


@register
def check_set_up(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    return [
        *workers(),
        *redis_client(),
        *channel_layer(),
        *hosts(),
        *open_mode(),
        *debug(),
        *map_library(),
        *public_url(),
        *proxies(),
        *unknown_variables(),
        *clock(),
        *collected_files(),
        *descriptors(),
        *mail(),
    ]


@register(Tags.database)
def check_databases(
    app_configs: Sequence[AppConfig] | None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for alias in databases or ():
        if connections[alias].vendor == "postgresql":
            found += [*database_clock(alias), *database_connections(alias)]
    return found


def workers() -> Iterator[CheckMessage]:
    if settings.WORKERS == 1:
        return
    if not settings.REDIS_URL:
        yield Error(
            f"WORKERS={settings.WORKERS} needs REDIS_URL: without Redis, a "
            "follower sees only the runners that reach the same process.",
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
            hint="Install the pinned version: pip install -r requirements.txt",
            id="spectate.E002",
        )


def channel_layer() -> Iterator[CheckMessage]:
    """Check a layer that was configured outside of the project's settings."""
    backend = settings.CHANNEL_LAYERS["default"]["BACKEND"]
    layer = get_channel_layer()
    hint = "Leave CHANNEL_LAYERS as it is and set REDIS_URL."
    if not hasattr(type(layer), "group_send_many"):
        yield Error(
            f"The channel layer {backend} cannot send many events at once, which the "
            "live positions need.",
            hint=hint,
            id="spectate.E003",
        )
    # `getattr` would not do, because the Redis layer forwards it to a layer of an event
    # loop.
    if expiry := vars(layer).get("group_expiry"):
        yield Error(
            f"The channel layer {backend} forgets who is in a group after {expiry} s "
            "(group_expiry); a process joins once and then lives for weeks.",
            hint=hint,
            id="spectate.E004",
        )


def hosts() -> Iterator[CheckMessage]:
    public = urlsplit(settings.PUBLIC_URL).hostname or ""
    if public not in LOCAL_HOSTS and not validate_host(public, settings.ALLOWED_HOSTS):
        yield Error(
            f"ALLOWED_HOSTS does not have {public}, the host of PUBLIC_URL: every page "
            "there would be refused.",
            hint="Add it, or unset ALLOWED_HOSTS.",
            id="spectate.E005",
        )
    if "*" in settings.ALLOWED_HOSTS and not settings.DEBUG:
        yield Warning(
            "ALLOWED_HOSTS=* in production: pages answer under any name, and what a "
            "proxy caches of them may hold a stranger's links.",
            hint="Unset it, or name the hosts.",
            id="spectate.W005",
        )


def open_mode() -> Iterator[CheckMessage]:
    if settings.SPECTATE_OPEN and not settings.DEBUG:
        yield Warning(
            "SPECTATE_OPEN=1 in production: anyone may publish for any runner.",
            hint="Unset it, unless this is intended.",
            id="spectate.W002",
        )


def debug() -> Iterator[CheckMessage]:
    if settings.DEBUG and urlsplit(settings.PUBLIC_URL).scheme == "https":
        yield Warning(
            f"DEBUG=1 at {settings.PUBLIC_URL}: it keeps every query in memory, and "
            "is slow.",
            hint="Unset DEBUG on a public server.",
            id="spectate.W007",
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
            f"PUBLIC_URL={settings.PUBLIC_URL} is plain HTTP: "
            "passwords and tokens can be intercepted, and browsers share no location.",
            hint="Put a proxy with a certificate in front and set PUBLIC_URL=https://….",
            id="spectate.W004",
        )


def proxies() -> Iterator[CheckMessage]:
    if "*" in settings.TRUSTED_PROXIES:
        yield Warning(
            "TRUSTED_PROXIES=*: every client can claim any address.",
            hint="Name the proxy's address as the server sees it, like 127.0.0.1.",
            id="spectate.W006",
        )


def unknown_variables() -> Iterator[CheckMessage]:
    known = settings.ENVIRONMENT_VARIABLES
    for name in sorted(os.environ):
        if name.startswith("SPECTATE_") and name not in known:
            close = get_close_matches(name, known, n=1)
            yield Warning(
                f"{name} is set, but there is no such setting.",
                hint=f"Did you mean {close[0]}?" if close else "See .env.example.",
                id="spectate.W008",
            )


def clock() -> Iterator[CheckMessage]:
    # The clock of a machine without a battery starts years in the past.
    now, written = time.time(), Path(__file__).stat().st_mtime
    if now < written - JUST_WRITTEN_S:
        yield Warning(
            f"The clock says {time.strftime('%F %T', time.gmtime(now))} UTC, which is "
            "before this program was installed: positions would be refused as future.",
            hint="Synchronize the clock with the network: apt-get install chrony.",
            id="spectate.W009",
        )


def collected_files() -> Iterator[CheckMessage]:
    root = Path(settings.STATIC_ROOT)
    # A server for this machine only is a development server, which needs none.
    is_local = urlsplit(settings.PUBLIC_URL).hostname in LOCAL_HOSTS
    if settings.DEBUG or (is_local and not any(root.iterdir())):
        return
    ignored = StaticFiles.ignore_patterns
    for finder in finders.get_finders():
        for path, storage in finder.list(ignored):
            source = Path(storage.path(path))
            there = root / (getattr(storage, "prefix", None) or "") / path
            if not there.exists() or there.stat().st_mtime < source.stat().st_mtime:
                yield Warning(
                    "The static files are not collected, or those of another version: "
                    f"{there.relative_to(root)} is missing or old.",
                    hint="Run `manage.py collectstatic --no-input`, then reload.",
                    id="spectate.W010",
                )
                return


def descriptors() -> Iterator[CheckMessage]:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if not settings.DEBUG and limit < FEW_DESCRIPTORS:
        yield Warning(
            f"A process may open {limit} files at most; a socket is one.",
            hint="Raise it: LimitNOFILE=100000 in the unit, or `ulimit -Hn`.",
            id="spectate.W011",
        )


def mail() -> Iterator[CheckMessage]:
    is_sent = settings.EMAIL_BACKEND.endswith("smtp.EmailBackend")
    if is_sent and settings.DEFAULT_FROM_EMAIL.endswith("@localhost"):
        yield Warning(
            f"Mail would come from {settings.DEFAULT_FROM_EMAIL}: servers refuse it.",
            hint="End EMAIL_URL with /?_default_from_email=race@YOUR.DOMAIN",
            id="spectate.W012",
        )


def database_clock(alias: str) -> Iterator[CheckMessage]:
    with connections[alias].cursor() as cursor:
        # The connection is open already, so that only the query takes time.
        cursor.execute("SELECT 1")
        asked = time.time()
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        there, answered = cursor.fetchone()[0], time.time()
    # The database read its clock between these two times.
    here, doubt = (asked + answered) / 2, (answered - asked) / 2
    if abs(there - here) - doubt > CLOCKS_APART_S:
        yield Warning(
            f"The database's clock is {there - here:+.1f} s from this machine's.",
            hint="Synchronize both with the network: apt-get install chrony.",
            id="spectate.W009",
        )


def database_connections(alias: str) -> Iterator[CheckMessage]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW max_connections")
        most = int(cursor.fetchone()[0])
    needed = settings.WORKERS * CONNECTIONS_PER_WORKER + OTHER_CONNECTIONS
    if most < needed:
        yield Warning(
            f"PostgreSQL takes {most} connections; WORKERS={settings.WORKERS} may "
            f"need {needed}, on each machine.",
            hint="Raise max_connections, or put PgBouncer (session mode) between.",
            id="spectate.W013",
        )
