"""Generated clients talk to a real server: `make generated-clients`."""

from __future__ import annotations

import subprocess
import sys

from tests.api.organisers.system import make_key
from tests.factories.people import make_office, make_runner, make_token
from tests.servers import ROOT, Server

GENERATE = ROOT / "clients/generated/generate"


def main() -> int:
    with Server("uvicorn") as server:
        runner = server.database(make_runner, "generated", visibility="public")
        token = server.database(make_token, runner)
        _, key = server.database(make_key, server.database(make_office))
        return subprocess.run([str(GENERATE), server.url, token, key]).returncode


if __name__ == "__main__":
    sys.exit(main())
