"""`connections` lists the sockets of all workers, and closes them in stages."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django import Settings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from runners.management.commands.connections import Names, follows
from runners.models import ShareLink
from runners.serving.operator_socket import SocketFacts
from tests.factories.people import make_phone
from tests.factories.races import make_bare_race
from tests.servers import ROOT, Server, clean_environment, free_port, running
from tests.services import Redis
from tests.waiting import PATIENCE_S, wait_until

HOUR = timedelta(hours=1)

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def server(shared_redis: Redis) -> Iterator[Server]:
    """A server with two workers."""
    with Server(WORKERS="2", REDIS_URL=shared_redis.url) as server:
        wait_until(lambda: len(operator_sockets(server)) == 2)
        yield server


def operator_sockets(server: Server) -> list[Path]:
    """Return the operator sockets of the server's processes, one per process."""
    return list((ROOT / "var/processes").glob(f"{server.port}-*"))


def has_request(server: Server) -> bool:
    """Return whether a process has an open operator connection."""
    connected = "03"
    return any(
        fields[5] == connected and f"/.{server.port}-" in fields[-1]
        for fields in map(str.split, Path("/proc/net/unix").read_text().splitlines())
    )


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


@contextlib.contextmanager
def spectator(server: Server, token: str | None = None) -> Iterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with connect(
        server.ws_url,
        subprotocols=[Subprotocol("spectate.v1")],
        additional_headers=headers,
    ) as client:
        assert json.loads(client.recv(timeout=PATIENCE_S))["type"] == "welcome"
        client.send(json.dumps({"type": "follow", "public": True}))
        assert json.loads(client.recv(timeout=PATIENCE_S))["type"] == "snapshot"
        yield client


def connections(*arguments: str) -> str:
    out = StringIO()
    call_command("connections", *arguments, stdout=out)
    return out.getvalue()


def listed() -> list[str]:
    *lines, summary = connections().splitlines()
    assert summary == f"{len(lines[1:])} sockets of 2 processes, 0 behind."
    return lines[1:]


def processes(lines: list[str]) -> Counter[str]:
    return Counter(line.split()[0] for line in lines)


def test_sockets_of_all_workers_are_listed_and_closed(
    server: Server, settings: Settings
) -> None:
    settings.PORT = server.port
    token = server.database(make_phone, "17", "Bob")
    begun_on = today()
    with contextlib.ExitStack() as stack:
        phone = stack.enter_context(spectator(server, token))
        old = stack.enter_context(connect(server.ws_url))
        old.send(json.dumps({"initialRequest": True, "following": ["17", "18"]}))
        assert json.loads(old.recv(timeout=PATIENCE_S))["error"] == "runner.unknown"
        # Connect until both workers have sockets.
        crowd = [stack.enter_context(spectator(server)) for _ in range(6)]
        while len(processes(listed())) < 2:
            crowd.append(stack.enter_context(spectator(server)))

        lines = listed()
        assert len(lines) == len(crowd) + 2
        (runner,) = (line for line in lines if "runner 17" in line)
        since = re.fullmatch(
            r" *\d+  (\S+) [\d:]{8}  127.0.0.1 +v1 +runner 17 +public +0", runner
        )
        assert since and begun_on <= since[1] <= today()
        (seed,) = (line for line in lines if " 2015 " in line)
        assert re.search(r"2015 +nobody +1 runner +0$", seed)

        process, count = processes(lines).most_common()[-1]
        output = connections("--close", "overloaded", "--process", process)
        assert output == f"{count} sockets of 1 process were closed.\n"
        wait_until(lambda: len(listed()) == len(lines) - count)

        output = connections("--close", "restart")
        assert output == f"{len(lines) - count} sockets of 2 processes were closed.\n"
        delays = []
        codes = []
        for client in (phone, *crowd):
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    message = json.loads(client.recv(timeout=PATIENCE_S))
                    delays += (
                        [message["after"]] if message["type"] == "reconnect" else []
                    )
            assert closed.value.rcvd is not None
            codes.append(closed.value.rcvd.code)
        # Clients that have to back off are not asked to reconnect.
        assert codes.count(1012) == len(delays) and {1012, 1013} >= {*codes}
        assert all(0 <= after < 1000 for after in delays)
        wait_until(lambda: not processes(listed()))
        output = connections("--close", "restart")
        assert output == "No sockets of 2 processes: nothing to close.\n"
    # Starting workers have connected to each other's operator sockets.
    assert "Traceback" not in server.log, server.log


def test_a_close_keeps_its_rate_and_ends_with_the_command(
    server: Server, settings: Settings
) -> None:
    settings.PORT = server.port
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(spectator(server))
        # Closing all of them would take 80 s.
        arguments = ["connections", "--close", "restart", "--rate", "0.5"]
        environment = clean_environment(**server.env)
        with running(["manage.py", *arguments], environment) as command:
            wait_until(lambda: len(listed()) < 40)
            assert has_request(server)
            command.send_signal(signal.SIGINT)
            command.wait(PATIENCE_S)
        # After that no process continues to close sockets.
        wait_until(lambda: not has_request(server))
        assert listed()


def test_users_and_links_are_named() -> None:
    user = User.objects.create_user("alice")
    race = make_bare_race("park")
    link, _ = ShareLink.objects.issue(label="Press", expires_at=race.ends, race=race)
    facts = SocketFacts(
        since=0,
        address="",
        dialect="v1",
        runner=None,
        user=user.pk,
        links=[link.pk, 999],
        runners=2,
        topics=["public"],
        waiting=0,
        behind=False,
    )
    assert Names([facts]).of(facts) == "user alice, link Press, link 999"
    assert follows(facts) == "public, 2 runners"
    assert follows({**facts, "runners": 0, "topics": []}) == "nobody"


def test_a_missing_process_is_explained(settings: Settings, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path
    settings.PORT = free_port()
    with pytest.raises(CommandError, match="No process serves port"):
        connections()
    with pytest.raises(CommandError, match="No process 7 serves port"):
        connections("--process", "7")
    with pytest.raises(CommandError, match="--rate must be more than 0"):
        connections("--rate", "0")


def test_the_socket_of_a_killed_process_is_ignored(
    settings: Settings, tmp_path: Path
) -> None:
    settings.VAR_DIR = tmp_path
    (tmp_path / "processes").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "processes" / f"{settings.PORT}-1"))
    with pytest.raises(CommandError, match="No process serves port"):
        connections()


def test_no_operator_socket_is_left_behind(shared_redis: Redis) -> None:
    with Server(WORKERS="2", REDIS_URL=shared_redis.url) as server:
        wait_until(lambda: len(operator_sockets(server)) == 2)
        stale = operator_sockets(server)
        server.kill()
        assert operator_sockets(server) == stale
        # The next start removes stale sockets, and a stopped server leaves none.
        server.start()
        wait_until(
            lambda: (
                len(operator_sockets(server)) == 2
                and not {*stale} & {*operator_sockets(server)}
            )
        )
        server.stop()
        assert not operator_sockets(server)
