from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

from tests.factories.people import make_runner
from tests.intake.phones import Phone
from tests.servers import Server

# Used by `make test-fuzz`.
hypothesis.settings.register_profile("long", max_examples=5_000)


@pytest.fixture(scope="module")
def phone_server(server: Server) -> Server:
    """Uvicorn and Daphne in turn, with Bob."""
    server.database(make_runner, "bob")
    return server


@pytest.fixture
def phone(phone_server: Server) -> Iterator[Phone]:
    """A phone of Bob with a new token; no position of Bob is stored."""
    with Phone(phone_server) as phone:
        phone.delete_positions()
        yield phone
