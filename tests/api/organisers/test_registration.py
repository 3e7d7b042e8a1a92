"""clients/http/registration.py with a server."""

from __future__ import annotations

import subprocess
import sys

from tests.api.organisers.system import make_key
from tests.factories.people import make_office
from tests.servers import ROOT, Server

SCRIPT = ROOT / "clients/http/registration.py"


def test_the_example_of_a_registration_system_runs_twice_with_one_result(
    uvicorn_server: Server,
) -> None:
    account = uvicorn_server.database(make_office)
    key, plain = uvicorn_server.database(make_key, account)

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), uvicorn_server.url, plain, "20"]
        return subprocess.run(command, capture_output=True, text=True)

    first, second = run(), run()
    assert (first.stderr, second.stderr) == ("20 tokens\n", "0 tokens\n")
    assert first.stdout == second.stdout
    assert first.stdout.splitlines()[0] == "1 1 Runner 1 finished 2401.0"
    assert len(first.stdout.splitlines()) == 20
    uvicorn_server.database(key.revoke)
    third = run()
    assert third.returncode == 1 and "key.invalid" in third.stderr
    assert len(SCRIPT.read_text().splitlines()) <= 60
