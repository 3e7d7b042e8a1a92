from __future__ import annotations

import pytest
from django.db import connection

from runners.models import Runner
from tests.factories.people import make_runner
from tests.servers import Server


def engine() -> str:
    return connection.vendor


@pytest.mark.django_db
def test_a_function_runs_in_the_servers_database_only() -> None:
    server = Server()
    bob = server.database(make_runner, "bob", visibility="private")
    assert bob.visibility == "private"
    assert server.database(Runner.objects.count) == 1
    assert Runner.objects.count() == 0
    with pytest.raises(Runner.DoesNotExist):
        server.database(Runner.objects.get, code="anne")
    server.close()


def test_a_function_runs_in_a_postgresql_database(postgres_url: str) -> None:
    server = Server(DATABASE_URL=postgres_url)
    assert server.database(engine) == "postgresql"
    assert server.database(make_runner, "bob").pk
    server.close()
