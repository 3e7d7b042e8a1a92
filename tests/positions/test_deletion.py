"""Runners are deleted while their phone sends."""

from __future__ import annotations

import threading
import time

from runners.models import Position, Runner
from runners.positions import storage
from runners.positions.fix import Fix
from tests.factories.people import make_runner
from tests.servers import Server

DELETIONS = 40


class Phone:
    """Stores positions of one runner after the other, as fast as the database can."""

    def __init__(self, server: Server) -> None:
        self.runner: int | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=server.database, args=(self._send,))
        self._thread.start()

    def _send(self) -> None:
        t = int(time.time() * 1000)
        while not self._stopped.is_set():
            if (runner := self.runner) is not None:
                t += 1
                storage.write_rows(
                    [storage.Row(runner, Fix(t, 48.0, 2.0), "websocket")]
                )

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


def delete_runners(phone: Phone) -> None:
    for n in range(DELETIONS):
        runner = make_runner(f"r{n}", "Bob")
        phone.runner = runner.pk
        while not runner.positions.exists():
            pass
        runner.delete()


def test_a_runner_whose_phone_sends_is_deleted(postgres_url: str) -> None:
    server = Server(DATABASE_URL=postgres_url)
    phone = Phone(server)
    try:
        server.database(delete_runners, phone)
    finally:
        phone.stop()
    assert server.database(Runner.objects.count) == 0
    assert server.database(Position.objects.count) == 0
    server.close()
