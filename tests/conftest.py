from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import resource
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import pytest
from django.conf import settings
from django.core.cache import cache
from django.core.management.color import no_style
from django.db import connection
from django.template import Context
from django.template.base import Template
from django.test import TransactionTestCase
from django.test import utils as test_utils
from django.test.signals import template_rendered
from django.utils import timezone, translation
from django.utils.safestring import SafeString

from runners import database
from runners.live.hub import Hub
from runners.live.layer import LocalLayer
from tests.made_once import shared_folder
from tests.servers import KINDS, SECRET_KEY, Kind, Server, checked, migrated_database
from tests.services import Mosquitto, Postgres, Redis, chromium_path, shared_postgres
from tests.time_limit import time_limit

if TYPE_CHECKING:
    from runners.serving.process import Process


def pytest_configure() -> None:
    signal.signal(signal.SIGTERM, terminate)
    # Background jobs of a shell, and so their children, ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A user of Debian starts with 1,024 descriptors. Servers of tests have as many as
    # this process, and limit their connections by that.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    settings.SECRET_KEY = SECRET_KEY
    settings.PASSWORD_HASHERS = ["tests.passwords.QuickHasher"]
    # Else each test client looks at all static files.
    settings.WHITENOISE_AUTOREFRESH = True
    TransactionTestCase._fixture_teardown = delete_rows  # type: ignore[attr-defined]
    test_utils.instrumented_test_render = render  # type: ignore[attr-defined]
    # Before xdist starts its workers, which get its name.
    shared_folder()


def delete_rows(_: TransactionTestCase) -> None:
    """Delete the rows that a test has committed.

    Django's own also deletes what migrations have made, which takes twenty times as
    long to make again.
    """
    tables = set(connection.introspection.django_table_names(only_existing=True))
    tables -= {"auth_permission", "django_content_type"}
    statements = connection.ops.sql_flush(no_style(), sorted(tables))
    connection.ops.execute_sql_flush(statements)


def render(template: Template, context: Context) -> SafeString:
    """Notify test clients of a page, and not of each template that it includes.

    They copy the context each time, and a page has a thousand of them.
    """
    if context.template is template:
        template_rendered.send(sender=template, template=template, context=context)
    return template.nodelist.render(context)


def terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Stop the run on SIGTERM, which CI and `timeout` send, as on Ctrl-C.

    A terminal sends Ctrl-C to the whole process group: to the processes of a parallel
    run too, and not to the programs, which fixtures stop. Programs of processes that
    take too long to stop are killed (`tests/processes.py`).
    """
    # `timeout` sends it to the whole process group too.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    for pid in map(int, children.read_text().split()):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) == os.getpgrp():
                os.kill(pid, signal.SIGTERM)
    raise KeyboardInterrupt


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Import all tests without garbage collections, which take a third of that time.

    Later ones leave what was imported alone.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Long tests start first, and folders whose last files are long are not the last, so
    # that no process is left with one at the end.
    long = {"browser", "commands", "faults", "trust"}
    middle = {"races", "serving", "sharing", "suite", "views"}
    items.sort(
        key=lambda item: (
            long.isdisjoint(item.path.parts),
            middle.isdisjoint(item.path.parts),
        )
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with time_limit(item.nodeid):
        return (yield)


pytest_runtest_call = pytest_runtest_teardown = pytest_runtest_setup


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for all tests that were skipped for the same reason."""
    reasons = Counter(
        report.longrepr[-1].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
    )
    for reason, count in reasons.items():
        terminalreporter.write_line(f"Tests left out: {count}. {reason}")


def pytest_sessionfinish() -> None:
    # xdist kills workers that take long to end: save coverage data before.
    if "coverage" in sys.modules:
        measured = sys.modules["coverage"].Coverage.current()
        if measured is not None:
            measured.save()


def pytest_unconfigure(config: pytest.Config) -> None:
    # Python waits for threads before it ends, so a hanging one would block it for ever.
    # Workers of xdist wait for each other, and xdist kills those that do not end.
    if not hasattr(config, "workerinput"):
        faulthandler.dump_traceback_later(60, exit=True)


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Tell pytest-django that the test database may exist, and is deleted elsewhere."""
    return True


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Begin the test database of this process as a copy of the migrated one.

    It is a file, as in production: a shared database in memory locks whole tables.
    """
    if connection.vendor == "sqlite":
        test_database = shared_folder() / f"test-{os.getpid()}.sqlite3"
        shutil.copy(migrated_database(), test_database)
        connection.settings_dict["TEST"]["NAME"] = test_database


@pytest.fixture(autouse=True)
def reset_language() -> Iterator[None]:
    """Reset the language that a test's client has requested."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def clear_cache() -> Iterator[None]:
    """Reset the counts of limits, and the predictions, after a test.

    Rows of the next test have the same primary keys.
    """
    yield
    cache.clear()
    # Imports the models, which need Django's settings; this module is a plugin too.
    from runners.races import predictions

    predictions._kept.clear()


@pytest.fixture
def layer() -> LocalLayer:
    return LocalLayer()


@pytest.fixture
async def hub(layer: LocalLayer) -> AsyncIterator[Hub]:
    """A hub on a separate layer, which it has left at the end."""
    hub = Hub(layer)
    yield hub
    await hub.close()
    assert layer.groups == {}
    assert hub.groups == 0


@pytest.fixture
async def process(transactional_db: None) -> AsyncIterator[Process]:
    """The services of this process on a separate layer, without threads."""
    layer = LocalLayer()
    # Not above, as in `clear_cache`.
    from runners.serving.process import build

    process = build(layer)
    yield process
    await process.stop()
    database.close_connections()
    assert layer.groups == {}


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Stop Django's clock in this process; return the time that it shows."""
    moment = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: moment)
    return moment


@pytest.fixture(scope="module", params=KINDS)
def server_kind(request: pytest.FixtureRequest) -> Kind:
    """Both kinds of servers, for tests that start one with special settings."""
    kind: Kind = request.param
    return kind


@pytest.fixture(scope="module")
def server(server_kind: Kind) -> Iterator[Server]:
    """Uvicorn and Daphne in turn, as in production; shared by a test file."""
    yield from checked(Server(server_kind))


@pytest.fixture(scope="module")
def open_server(server_kind: Kind) -> Iterator[Server]:
    """Uvicorn and Daphne in turn, in open mode; shared by a test file."""
    yield from checked(Server(server_kind, SPECTATE_OPEN="1"))


@pytest.fixture(scope="module")
def uvicorn_server() -> Iterator[Server]:
    """Uvicorn as in production; shared by a test file."""
    yield from checked(Server("uvicorn"))


@pytest.fixture
def redis_server() -> Iterator[Redis]:
    """A Redis for one test, which may stop, kill and restart it."""
    with Redis() as redis:
        yield redis


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_cluster() -> Postgres:
    return shared_postgres()


@pytest.fixture
def postgres_url(postgres_cluster: Postgres) -> str:
    """The URL of a new database without rows."""
    return postgres_cluster.new_database()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser that browser tests use."""
    return chromium_path()


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    """An MQTT broker for one test, which may stop, kill and restart it."""
    with Mosquitto() as broker:
        yield broker


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Redis]:
    """A Redis for tests that keep it running."""
    with Redis() as redis:
        yield redis
