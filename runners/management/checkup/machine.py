"""The checks of this machine: settings, database, layer, clock, map files."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.checks import CheckMessage, Tags, run_checks
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from redis.exceptions import RedisError

from runners.management.checkup.problem import Problem
from runners.views.assets import map_assets

# How long an event may take through the layer.
LAYER_PATIENCE_S = 5.0
# The kernel's status of a clock that is not synchronised (linux/timex.h).
STA_UNSYNC = 0x0040
# The check of the map files reports all of them.
MAP_LIBRARY_MISSING = "spectate.W003"


def check_settings() -> Iterator[str | Problem]:
    """Yield the results of the system checks; with https, those for production."""
    found = [
        each
        for each in run_checks(
            include_deployment_checks=settings.PUBLIC_URL.startswith("https://")
        )
        if each.id != MAP_LIBRARY_MISSING
    ]
    yield from map(problem_of, found)
    if not found:
        yield f"{settings.PUBLIC_URL}, WORKERS={settings.WORKERS}"


def problem_of(message: CheckMessage) -> Problem:
    return Problem(f"{message.msg} ({message.id})", str(message.hint or ""))


def check_database() -> Iterator[str | Problem]:
    """Check that the database is available, migrated, writable and fit for workers."""
    connection.ensure_connection()
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise Problem(
            f"The database does not match this version: {len(missing)} "
            "migrations are missing.",
            "Run `manage.py migrate`.",
        )
    write_and_roll_back()
    found = run_checks(tags=[Tags.database], databases=["default"])
    yield from map(problem_of, found)
    if not found:
        version = ".".join(map(str, connection.get_database_version()))
        yield f"{connection.display_name} {version}: migrated, accepts writes"


def write_and_roll_back() -> None:
    with transaction.atomic():
        Session.objects.create(
            session_key=f"doctor-{uuid.uuid4().hex[:20]}", expire_date=timezone.now()
        )
        transaction.set_rollback(True)


def check_layer() -> Iterator[str | Problem]:
    """Send an event through the layer and wait for it."""
    if not settings.REDIS_URL:
        yield "in this process, as one worker needs no Redis"
        return
    try:
        took = async_to_sync(time_through_layer)()
    except (RedisError, OSError) as error:
        raise Problem(
            f"Redis does not deliver events: {str(error).rstrip('.') or 'no answer'}.",
            "Is it running, and is REDIS_URL right?",
        ) from error
    yield f"Redis: an event came through in {took * 1000:.0f} ms"


async def time_through_layer() -> float:
    """Return how long an event to a group takes to return, in seconds."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    group = f"doctor.{uuid.uuid4().hex}"
    try:
        async with asyncio.timeout(LAYER_PATIENCE_S):
            await layer.group_add(group, channel)
            sent = time.perf_counter()
            await layer.group_send_many([(group, {"type": "doctor"})])
            await layer.receive(channel)
            return time.perf_counter() - sent
    finally:
        await layer.flush()


class Timex(ctypes.Structure):
    """The fields of the kernel's `struct timex` that are read here."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def read_clock() -> Timex | None:
    """Return the kernel's state of its clock; None if it cannot be read."""
    if sys.platform != "linux":
        return None
    timex = Timex()
    if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
        return None
    return timex


def check_clock() -> Iterator[str | Problem]:
    """Check that the clock is synchronised, because fixes are compared with it."""
    now = f"{timezone.now():%Y-%m-%d %H:%M:%S} UTC"
    clock = read_clock()
    if clock is None:
        yield f"{now}; this system does not report whether the clock is synchronized"
    elif clock.status & STA_UNSYNC:
        raise Problem(
            f"This machine's clock ({now}) is not synchronized: once it has "
            "drifted, positions of phones are refused or shown as old.",
            "Synchronize it with the network: apt-get install chrony.",
        )
    else:
        error = timedelta(microseconds=clock.maxerror).total_seconds()
        yield f"{now}, synchronized within {error:.1f} s"


def check_map() -> Iterator[str | Problem]:
    if map_assets() is None:
        raise Problem(
            "Files of the map are missing: pages show no map.",
            "Run `make setup`, then `manage.py collectstatic --no-input`.",
        )
    yield "its library and outlines are installed"
