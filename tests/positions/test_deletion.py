"""A runner is deleted while their phone sends."""

from __future__ import annotations

from tests.servers import Server

DELETIONS = 40
# Positions come from one thread as fast as the database takes them.
SCRIPT = f"""
import threading, time
from runners.models import Position
from runners.positions import writing
from runners.positions.fix import Fix
from django.db import connections
current, stop = [None], threading.Event()
def send():
    t = int(time.time() * 1000)
    while not stop.is_set():
        if current[0] is not None:
            t += 1
            writing.write([writing.Row(current[0], Fix(t, 48.0, 2.0), "websocket")])
    connections.close_all()
sender = threading.Thread(target=send)
sender.start()
failed = []
try:
    for n in range({DELETIONS}):
        runner = Runner.objects.create(code=f"r{{n}}", name="Bob")
        current[0] = runner.pk
        while not Position.objects.filter(runner=runner).exists():
            pass
        try:
            runner.delete()
        except Exception as error:
            failed.append(str(error))
finally:
    stop.set()
    sender.join()
print(len(failed), Runner.objects.count(), Position.objects.count(), failed[:1])
"""


def test_a_runner_whose_phone_sends_is_deleted(postgres_url: str) -> None:
    server = Server(DATABASE_URL=postgres_url)
    try:
        said = server.manage("shell", "-v0", "-c", SCRIPT)
    finally:
        server.close()
    assert said.split()[:3] == ["0", "0", "0"], said
