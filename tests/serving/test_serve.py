from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from uvicorn.server import ServerState
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from runners.serving.http import BoundedHttp
from tests.clients import is_heartbeat
from tests.faults.metrics import metrics
from tests.live.connections import Transport, configured
from tests.servers import NEW_INTERPRETER, PRODUCTION, Server, clean_environment, run
from tests.waiting import PATIENCE_S, wait_until


def refusal(**env: str) -> str:
    done = run(["manage.py", "serve"], clean_environment(**PRODUCTION, **env))
    assert done.returncode
    assert "Traceback" not in done.stderr
    return done.stderr


def get(server: Server, path: str, *, by: str = "127.0.0.1", **headers: str) -> int:
    """Send a request from an address of this machine; return the status."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", server.port, timeout=PATIENCE_S, source_address=(by, 0)
    )
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status


def test_a_port_in_use_is_reported_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        output = refusal(PORT=str(port))
    assert f"Port {port} cannot be opened (Address already in use)" in output
    assert len(output.splitlines()) == 1


def test_several_workers_without_redis_are_refused() -> None:
    assert "(spectate.E001) WORKERS=2 needs REDIS_URL" in refusal(WORKERS="2")


def test_a_server_restarts_immediately_after_a_kill() -> None:
    with Server("uvicorn") as server:
        # An open connection would keep the port from being bound again.
        with socket.create_connection(("127.0.0.1", server.port)):
            server.kill()
        server.start()
        assert get(server, "/healthz") == 200


def test_a_server_stops_in_order_on_sigterm() -> None:
    with Server("uvicorn") as server:
        # The server has ended before its time limit and was not killed.
        assert server.stop() == -signal.SIGTERM
        assert "Traceback" not in server.log


def test_a_draining_server_closes_all_sockets_and_admits_none() -> None:
    with Server("uvicorn", SPECTATE_SOCKETS="2") as server:
        with (
            connect(server.ws_url, subprotocols=[Subprotocol("spectate.v1")]) as typed,
            connect(server.ws_url) as seed,
        ):
            assert json.loads(typed.recv(timeout=PATIENCE_S))["type"] == "welcome"
            # Sockets over the limit are accepted and closed immediately.
            with connect(server.ws_url) as third, pytest.raises(ConnectionClosed):
                third.recv(timeout=PATIENCE_S)
            assert third.close_code == 1013
            assert third.close_reason == "The server has its 2 sockets."
            assert f"was closed with 1013: {third.close_reason}" in server.log
            refused = metrics(server)[
                'spectate_sockets_refused_total{reason="sockets"}'
            ]
            assert refused == 1
            os.kill(server.pid, signal.SIGTERM)
            while is_heartbeat(reconnect := json.loads(typed.recv(timeout=PATIENCE_S))):
                pass
            assert reconnect["type"] == "reconnect"
            assert reconnect["after"] >= 0
            for socket_ in (typed, seed):
                with pytest.raises(ConnectionClosed):
                    socket_.recv(timeout=PATIENCE_S)
                assert socket_.close_code == 1012
        server.wait()
        assert "Traceback" not in server.log


def test_a_server_raises_its_descriptor_limit() -> None:
    with Server("uvicorn") as server:
        limits = Path(f"/proc/{server.pid}/limits").read_text()
        (line,) = [line for line in limits.splitlines() if "open files" in line]
        soft, hard = line.split()[3:5]
        assert soft == hard


def test_the_log_shows_no_token() -> None:
    with Server("uvicorn") as server:
        get(server, "/healthz?token=hunter2")
        get(server, "/s/hunter2/")
        get(server, "/intake/osmand/hunter2/?id=hunter2")
        server.stop()
        assert "GET /healthz?***" in server.log
        assert "hunter2" not in server.log


@pytest.mark.parametrize("trusted", ["", "127.0.0.2"])
def test_forwarded_addresses_are_trusted_from_trusted_proxies_only(
    trusted: str,
) -> None:
    with Server("uvicorn", TRUSTED_PROXIES=trusted) as server:
        for by in ("127.0.0.2", "127.0.0.3"):
            get(server, "/readyz", by=by, **{"X-Forwarded-For": "203.0.113.9"})
        server.stop()
        clients = re.findall(r"(\S+):\d+ - .GET /readyz", server.log)
    assert clients == ["203.0.113.9" if trusted else "127.0.0.2", "127.0.0.3"]


def test_invalid_utf_8_is_logged_without_a_traceback() -> None:
    with Server("uvicorn") as server:
        with connect(server.ws_url) as spectator:
            spectator.send(b"\xff", text=True)
            with pytest.raises(ConnectionClosedError) as closed:
                spectator.recv(timeout=PATIENCE_S)
        assert closed.value.rcvd and closed.value.rcvd.code == 1007
        assert "Invalid UTF-8" in server.log
        assert "Traceback" not in server.log


@pytest.fixture
def workers(redis_url: str, postgres_url: str) -> dict[str, str]:
    return {"WORKERS": "2", "REDIS_URL": redis_url, "DATABASE_URL": postgres_url}


def test_several_workers_serve_behind_redis(workers: dict[str, str]) -> None:
    with Server("uvicorn", **workers, **NEW_INTERPRETER) as server:
        assert get(server, "/healthz") == 200
        # The port of one worker shows the metrics of both.
        wait_until(lambda: set(sockets_by_worker(server)) == {"0", "1"})
        assert "spectate.W001" not in server.log
        assert server.stop() == 0
        assert "Traceback" not in server.log


def test_a_dead_worker_is_replaced(workers: dict[str, str]) -> None:
    with Server("uvicorn", **workers) as server:
        wait_until(lambda: len(worker_pids(server)) == 2)
        before = worker_pids(server)
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: worker_pids(server) - before)


def test_workers_end_with_their_killed_parent(
    workers: dict[str, str], tmp_path: Path
) -> None:
    with Server("uvicorn", TMPDIR=str(tmp_path), **workers) as server:
        wait_until(lambda: len(worker_pids(server)) == 2)
        pids = worker_pids(server)
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        wait_until(lambda: not any(is_alive(pid) for pid in pids))
        assert not list(tmp_path.glob("spectate-workers-*"))
        server.start()


def sockets_by_worker(server: Server) -> dict[str, float]:
    return {
        name.partition('worker="')[2].partition('"')[0]: value
        for name, value in metrics(server).items()
        if name.startswith("spectate_sockets{")
    }


def worker_pids(server: Server) -> set[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return {int(pid) for pid in children.split()}


def is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    return False


async def test_the_access_log_has_no_lines_of_what_crowds_ask_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        length = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body"})

    caplog.set_level("INFO", "uvicorn.access")
    state = ServerState()
    protocol = BoundedHttp(configured(application), state, {})
    protocol.connection_made(Transport())
    # A proxy sends requests of several viewers on one connection.
    for path in ("/races/ten/eta.json?at=5", "/a", "/live.json", "/b?x=/eta.json"):
        protocol.data_received(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await asyncio.gather(*state.tasks)
    protocol.connection_lost(None)
    logged = [record.getMessage().split()[3] for record in caplog.records]
    # Where other tests have started the application, its log masks queries.
    assert [path.partition("?")[0] for path in logged] == ["/a", "/b"]
