from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Kind, Server, checked


@pytest.fixture(scope="module")
def roomy_server(server_kind: Kind) -> Iterator[Server]:
    """Start each kind of server in turn, without a low limit of sockets per token."""
    yield from checked(Server(server_kind, SPECTATE_SOCKETS_A_TOKEN="999"))
