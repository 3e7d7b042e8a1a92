from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Kind, Server


@pytest.fixture(scope="module")
def roomy_server(server_kind: Kind) -> Iterator[Server]:
    """Both servers in turn, with room for as many sockets of a token as one likes."""
    with Server(server_kind, SPECTATE_SOCKETS_A_TOKEN="999") as server:
        yield server
        server.stop()
        assert "Traceback" not in server.log, server.log
