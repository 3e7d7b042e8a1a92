from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Kind, Server


@pytest.fixture(scope="module")
def roomy_server(server_kind: Kind) -> Iterator[Server]:
    """Start each kind of server in turn, without a low limit of sockets per token."""
    with Server(server_kind, SPECTATE_SOCKETS_A_TOKEN="999") as server:
        yield server
        server.stop()
        assert "Traceback" not in server.log, server.log
