"""The packages of clients/ with a real server, which stops and restarts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from clients.conformance import packages
from tests.factories.people import make_token
from tests.factories.positions import stored_times
from tests.processes import Leashed
from tests.races.field import make_entry, make_race
from tests.servers import ROOT, Server, checked
from tests.services import CHROMIUM_FLAGS, unavailable
from tests.waiting import PATIENCE_S, wait_until

CLIENTS = ROOT / "clients"
SKETCH = CLIENTS / "swift/Client.swift"
FIXES_BEFORE = 2
FIXES_AFTER = 4


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    yield from checked(Server("uvicorn"))


@pytest.fixture(scope="module")
def tokens(server: Server) -> dict[str, str]:
    """Tokens by client; all their runners are in the race "run"."""
    race = server.database(make_race, slug="run")
    entries = [
        server.database(make_entry, race, code, code, visibility="public")
        for code in ("python", "node", "curl", "browser")
    ]
    return {
        entry.runner.code: server.database(make_token, entry.runner)
        for entry in entries
    }


class Program:
    """A client program that prints what it receives."""

    def __init__(self, *command: str, folder: Path) -> None:
        self.printed = folder / f"{len(list(folder.iterdir()))}.txt"
        with self.printed.open("w") as out:
            self.process: Leashed[str] = Leashed(
                list(command),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    def write(self, fix: dict[str, float]) -> None:
        assert self.process.stdin is not None
        print(json.dumps(fix), file=self.process.stdin, flush=True)

    def printed_times(self, code: str) -> set[int]:
        """Return the times of a runner's printed fixes."""
        lines = [line.split() for line in self.printed.read_text().splitlines()]
        return {int(line[1]) for line in lines if line[0] == code}

    def end(self) -> int:
        """Close its input and wait; return its status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(PATIENCE_S)
        self.process.kill_all()
        return status

    def stop(self) -> None:
        with self.process:
            self.process.terminate()


def python(*args: str) -> list[str]:
    return packages.python("-m", "spectate_client", *args)


def node(*args: str) -> list[str]:
    """Return the command of a program that uses the module."""
    if shutil.which("node") is None:
        unavailable("Node.js", ".ci/setup test")
    return packages.node(str(ROOT / "tests/api/program.mjs"), *args)


def fixes(count: int) -> list[dict[str, float]]:
    now = time.time_ns() // 1_000_000
    return [
        {"t": now - 1000 * (count - n), "lat": 48 + n / 1e4, "lng": 2.0}
        for n in range(count)
    ]


def wait_for_all(spectators: Iterable[Program], runners: Iterable[str], t: int) -> None:
    """Wait until each spectator has received each runner's fix of a time."""
    wait_until(
        lambda: all(t in s.printed_times(code) for s in spectators for code in runners)
    )


def test_clients_miss_nothing_while_the_server_restarts(
    server: Server, tokens: dict[str, str], tmp_path: Path
) -> None:
    url = f"{server.ws_url}/ws/"
    start = {"python": python, "node": node}
    phones = {
        code: Program(*make("publish", url, tokens[code]), folder=tmp_path)
        for code, make in start.items()
    }
    spectators = [
        Program(*make("follow", url, "run"), folder=tmp_path) for make in start.values()
    ]
    sent = fixes(FIXES_BEFORE + FIXES_AFTER)
    times = {int(fix["t"]) for fix in sent}
    try:
        for fix in sent[:FIXES_BEFORE]:
            for phone in phones.values():
                phone.write(fix)
            wait_for_all(spectators, phones, int(fix["t"]))
        # The server asks all clients to reconnect and closes with 1012.
        server.stop()
        for phone in phones.values():
            for fix in sent[FIXES_BEFORE:]:
                phone.write(fix)
        server.start()
        # Each program ends when all its fixes are acked.
        assert [phone.end() for phone in phones.values()] == [0, 0]
        # Fixes that were stored meanwhile follow the snapshot.
        for t in times:
            wait_for_all(spectators, phones, t)
        stored = server.database(stored_times)
        assert {code: set(stored[code]) for code in phones} == dict.fromkeys(
            phones, times
        )
    finally:
        for program in [*phones.values(), *spectators]:
            program.stop()


@pytest.mark.parametrize("make", [python, node])
def test_a_wrong_token_ends_a_client_that_waits_for_positions(
    make: object, server: Server, tmp_path: Path
) -> None:
    assert callable(make)
    phone = Program(*make("publish", f"{server.ws_url}/ws/", "wrong"), folder=tmp_path)
    # Its input stays open.
    assert phone.process.wait(PATIENCE_S) == 1
    phone.end()
    assert "token.invalid" in phone.printed.read_text()


UNENCODABLE = """
from datetime import datetime
from decimal import Decimal
from spectate_client import Publisher

publisher = Publisher("ws://localhost/", "token")
for lat in (Decimal(48), datetime.now(), float("nan")):
    try:
        publisher.add({"t": 1, "lat": lat, "lng": 11})
    except (TypeError, ValueError) as error:
        print(type(error).__name__, len(publisher.pending))
"""


def test_a_fix_that_json_cannot_encode_is_an_error_of_its_caller() -> None:
    run = subprocess.run(
        packages.python("-c", UNENCODABLE), capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == ["TypeError 0", "TypeError 0", "ValueError 0"]


def test_curl_publishes_and_reads_the_position(
    server: Server, tokens: dict[str, str], tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        unavailable("curl", "apt-get install curl")
    command = [str(CLIENTS / "http/publish.sh"), server.url, tokens["curl"], "curl"]
    queue = tmp_path / "queue"
    env = os.environ | {"SPECTATE_QUEUE": str(queue)}

    def run(*place: str, token: str = tokens["curl"]) -> list[str]:
        done = subprocess.run(
            [*command[:2], token, "curl", *place],
            capture_output=True,
            text=True,
            env=env,
        )
        return done.stdout.splitlines() if done.returncode == 0 else []

    assert run("48.85", "2.35", token="wrong") == []
    # The fix was queued, and is sent with the next one.
    time.sleep(1)
    ack, live, track = map(json.loads, run("48.86", "2.35"))
    assert ack == {"stored": 2, "rejected": []}
    assert live["runners"][0]["fix"][1] == 48.86
    assert [point[1] for point in track["points"]] == [48.85, 48.86]
    assert not queue.exists()


def test_the_sketch_names_every_rule() -> None:
    rules = re.findall(r"^(\d+)\.", (CLIENTS / "README.md").read_text(), re.M)
    named = re.findall(r"[Rr]ules? (\d+)(?: and (\d+))?", SKETCH.read_text())
    assert {number for pair in named for number in pair if number} == set(rules)


def test_the_sketch_publishes_only_after_the_welcome_of_its_connection() -> None:
    """The websocket library queues messages before the connection is open.

    After `token.moved` the new connection belongs to a different runner: what the phone
    recorded before its `welcome` would be published as theirs.
    """
    sketch = SKETCH.read_text()
    assert re.search(r"socket = nil\n +isWelcome = false\n", sketch)
    assert re.search(r"while isWelcome\b", sketch)
    assert len(re.findall(r"isWelcome = (true|false)", sketch)) == 3


IN_A_BROWSER = """async ([url, token]) => {
  const { Publisher, Spectator } = await import("/client.js");
  const spectator = new Spectator(url, { races: ["run"] });
  const publisher = new Publisher(url, token);
  const seen = new Promise((resolve) => {
    spectator.onMoved = (code, fix) => code === "browser" && resolve(fix);
  });
  spectator.start();
  publisher.start();
  publisher.add({ t: Date.now(), lat: 48.5, lng: 2 });
  const { lat } = await seen;
  await publisher.flush();
  publisher.stop();
  spectator.stop();
  return lat;
}"""


def test_javascript_runs_in_a_browser(
    server: Server, tokens: dict[str, str], chromium: str
) -> None:
    module = (CLIENTS / "javascript/index.js").read_text()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=CHROMIUM_FLAGS
        )
        page = browser.new_page(base_url=server.url)
        page.route(
            "**/client.js",
            lambda route: route.fulfill(body=module, content_type="text/javascript"),
        )
        page.goto("/healthz")
        urls = [f"{server.ws_url}/ws/", tokens["browser"]]
        assert page.evaluate(IN_A_BROWSER, urls) == 48.5
        browser.close()


@pytest.mark.parametrize("script", ["generated/generate", "kotlin/compile"])
def test_a_missing_program_is_named_with_the_command_that_installs_it(
    script: str, tmp_path: Path
) -> None:
    (tmp_path / "dirname").symlink_to(shutil.which("dirname") or "")
    done = subprocess.run(
        ["/bin/sh", CLIENTS / script, "http://localhost"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith("Not found: ") and "apt-get install" in line
