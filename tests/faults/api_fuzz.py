"""Send requests that Schemathesis makes of the API's document.

The long form (`make long-api_fuzz`) is ten minutes. No answer is a 5xx or against its
schema. Schemathesis runs in an environment of its own, because it brings a dozen
packages that nothing else needs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

from tests.servers import ROOT, Server  # sets Django up

# isort: split
from runners.units.clock import now_ms
from tests.api.organisers.system import make_key
from tests.factories.people import make_office
from tests.faults.by_hand import new_parser
from tests.races.field import make_entry, make_race

SCHEMATHESIS = "schemathesis==4.32.5"
# Fewer than a key may send.
REQUESTS_PER_MINUTE = 580
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance"),
)


def make_key_and_race() -> str:
    """Make a race with an entry, and a key for all races."""
    office = make_office()
    make_entry(make_race(owner=office), "bob", "1")
    return make_key(office, scope="installation")[1]


# Generated names are those of no race: half of the requests have a known one.
KNOWN = """
[parameters]
"path.slug" = "ten"
"path.bib" = "1"
"""


def fuzz(server: Server, key: str, seconds: int, seed: int, known: bool) -> int:
    """Run Schemathesis and return its exit status."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(KNOWN if known else "")
        config.flush()
        return subprocess.run(
            [
                *(sys.executable, "-m", "uv", "tool", "run", "--from", SCHEMATHESIS),
                *("schemathesis", "--config-file", config.name),
                *("run", f"{server.url}/api/v1/openapi.json"),
                *("--header", f"Authorization: Bearer {key}"),
                *("--checks", ",".join(CHECKS), "--continue-on-failure"),
                *("--rate-limit", f"{REQUESTS_PER_MINUTE}/m", "--warnings", "off"),
                *("--max-time", str(seconds), "--seed", str(seed)),
                *(("--exclude-method", "DELETE") if known else ()),
            ],
            cwd=ROOT,
        ).returncode


def main() -> int:
    parser = new_parser()
    options = parser.parse_args()
    seconds = 300 if options.long else 90
    seed = now_ms() % 2**32 if options.seed is None else options.seed
    with Server("uvicorn") as server:
        key = server.database(make_key_and_race)
        failed = [
            fuzz(server, key, seconds, seed, known) != 0 for known in (True, False)
        ]
        server.stop()
        if "Traceback" in server.log:
            failed.append(True)
            print(server.log[server.log.find("Traceback") :][:4_000])
    return int(any(failed))


if __name__ == "__main__":
    sys.exit(main())
