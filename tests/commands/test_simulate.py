"""`simulate` against real servers."""

from __future__ import annotations

import re
import signal
from contextlib import AbstractContextManager
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from runners.models import Entry, LatestPosition, Position, Runner, RunnerToken
from runners.races.course import Course
from runners.races.demo import demo_points
from runners.races.setup import race_create
from runners.simulation.field import TOKEN_NAME
from tests.launcher import Launched
from tests.servers import Server, clean_environment, running
from tests.waiting import PATIENCE_S, wait_until

METRE_DEGREES = 1 / 111_320


def make_race(server: Server, slug: str) -> str:
    server.database(
        race_create,
        slug=slug,
        name="Park",
        course=Course(demo_points()),
        start=timezone.now(),
    )
    return slug


def usable_tokens() -> int:
    tokens = RunnerToken.objects.filter(name=TOKEN_NAME, revoked_at=None)
    return tokens.count()


def wait_for_positions(server: Server, more_than: int = 0) -> None:
    wait_until(lambda: server.database(Position.objects.count) > more_than)


def start(server: Server, *options: str) -> AbstractContextManager[Launched]:
    command = ["manage.py", "simulate", "--url", f"{server.ws_url}/ws/", *options]
    return running(command, clean_environment(**server.env))


def stop(process: Launched, number: signal.Signals = signal.SIGINT) -> str:
    """Send a signal to a simulation; return what it printed."""
    process.send_signal(number)
    status = process.wait(PATIENCE_S)
    printed, errors = process.outputs
    assert status == 0, errors
    assert "Traceback" not in errors
    assert "Traceback" not in printed
    return printed


def result(printed: str) -> tuple[int, int]:
    """Return the number of fixes stored, and of fixes without an ack."""
    found = re.search(r"([\d,]+) fixes stored.* ([\d,]+) not acked", printed)
    assert found, printed
    stored, waiting = (int(group.replace(",", "")) for group in found.groups())
    return stored, waiting


def test_a_field_is_entered_runs_and_is_stored(server: Server) -> None:
    options = ("--race", make_race(server, "park"), "--runners", "6")

    with start(server, *options) as process:
        # The runners are spread along the course, not all at the start.
        wait_until(lambda: server.database(latitudes, count=6) > 300 * METRE_DEGREES)
        stored, waiting = result(stop(process))
    assert stored <= server.database(Position.objects.count) <= stored + waiting
    assert server.database(usable_tokens) == 0

    url = f"{server.ws_url}/ws/"
    result(server.manage("simulate", "--url", url, *options, "--duration", "1"))
    assert server.database(Entry.objects.count) == 6
    assert server.database(Runner.objects.count) == 6


def latitudes(count: int) -> float:
    """Return the degrees of latitude over which `count` runners are spread."""
    found = list(LatestPosition.objects.values_list("lat", flat=True))
    return max(found) - min(found) if len(found) == count else 0.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_revokes_the_tokens(
    uvicorn_server: Server, number: signal.Signals
) -> None:
    race = make_race(uvicorn_server, f"stop-{number.name.lower()}")
    before = uvicorn_server.database(Position.objects.count)
    with start(uvicorn_server, "--race", race, "--runners", "3") as process:
        wait_for_positions(uvicorn_server, more_than=before)
        assert uvicorn_server.database(usable_tokens) == 3
        printed = stop(process, number)

    assert "3 runners ran for" in printed.splitlines()[-1]
    assert uvicorn_server.database(usable_tokens) == 0


def test_no_acked_fix_is_lost_when_the_server_is_killed() -> None:
    with Server("uvicorn") as server:
        with start(server, "--race", make_race(server, "park"), "--runners", "5") as (
            process
        ):
            wait_for_positions(server)
            server.kill()
            before = server.database(Position.objects.count)
            server.start()
            wait_for_positions(server, more_than=before)
            printed = stop(process)

        stored, _ = result(printed)
        # Fixes that were stored without an ack are sent again and stored once.
        assert stored <= server.database(Position.objects.count)
        assert " 0 reconnects" not in printed.splitlines()[-1]


def test_tokens_unknown_to_the_server_are_explained(
    uvicorn_server: Server,
) -> None:
    with Server("uvicorn") as other:
        race = make_race(other, "park")
        with pytest.raises(RuntimeError, match="same database"):
            other.manage(
                *("simulate", "--url", uvicorn_server.ws_url, "--race", race),
                *("--runners", "2", "--duration", "10"),
            )
        assert other.database(usable_tokens) == 0


def test_the_seed_client_receives_every_valid_position(open_server: Server) -> None:
    printed = open_server.manage(
        *("simulate", "--url", open_server.ws_url, "--seed"),
        *("--users", "20", "--messages", "200"),
    )

    assert "20 users sent 4,000 positions" in printed
    assert "Every follower received every valid position." in printed
    found = re.search(r"([\d,]+) of them nowhere on earth; ([\d,]+) errors", printed)
    assert found
    assert found[1] == found[2]


def test_the_seed_client_reports_missing_positions(uvicorn_server: Server) -> None:
    # Without open mode no client may publish for an arbitrary id.
    with start(uvicorn_server, "--seed", "--users", "3", "--messages", "20") as process:
        assert process.wait(PATIENCE_S) == 1
        printed, errors = process.outputs

    assert "followers miss" in printed + errors
    assert "Traceback" not in printed + errors


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--url", "localhost", "--race", "park"], "not a URL like ws:"),
        (["--url", "http://localhost/", "--race", "park"], "not a URL like ws:"),
        (["--url", "ws://localhost/"], "Choose a race with --race SLUG"),
        (["--url", "ws://localhost/", "--race", "park"], "no race 'park'"),
        (["--url", "ws://localhost/", "--seed", "--users", "0"], "from 1 to"),
        (["--url", "ws://localhost/", "--race", "park", "--speed", "-1"], "above 0"),
        (["--url", "ws://127.0.0.1:1/", "--seed"], "Only 0 of 100 sockets opened"),
    ],
)
def test_a_refusal_is_one_line(options: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message) as refusal:
        call_command("simulate", *options, stdout=StringIO())

    assert "\n" not in str(refusal.value)
