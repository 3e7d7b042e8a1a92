from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from datetime import timedelta
from itertools import accumulate
from random import Random
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from runners.management.commands.serve import end_with_parent, listen
from runners.maps.cutting import cut_map
from runners.models import Entry, Race, Wave
from runners.races.course import Course, waypoints_of_gpx
from runners.races.demo import demo_gpx
from runners.races.setup import race_create, race_set_course
from runners.simulation.field import entries_create
from runners.simulation.past import past_write
from runners.simulation.town import ARCHIVE as TOWN

SLUG = "demo"
DURATION = timedelta(hours=48)
LAPS = 5
# Allows `simulate --speed` of up to twenty.
TOP_SPEED_M_PER_S = 130.0
# The waves: their start from now, and their share of the field.
WAVES = (
    ("A", timedelta(minutes=-22), 0.38),
    ("B", timedelta(minutes=-11), 0.37),
    ("C", timedelta(minutes=3), 0.25),
)
CATEGORIES = ("W", "M", "M", "W40", "M40")
CLUBS = ("Larkmere Harriers", "", "Mill Lane AC", "")
# The runner who did not finish, counted from the first.
DNF_NUMBER = 12
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15

# The address of a development server that other machines of the network may use too.
ENVIRONMENT = {"DEBUG": "1", "SPECTATE_OPEN": "1", "ALLOWED_HOSTS": "*"}


class Command(BaseCommand):
    help = "Run a demo: a race that starts now, simulated runners, and a server."
    # The server runs the checks, with the settings above.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--runners", type=int, default=60, help="default: 60")

    def handle(self, *args: Any, **options: Any) -> None:
        # Whatever ends `make run` stops the demo: a signal, even in a shell whose
        # background jobs ignore Ctrl-C, or the death of the parent.
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.default_int_handler)
        end_with_parent(signal.SIGTERM)
        listen(settings.PORT).close()  # Check the port before any slow import.
        self.stdout.write("Preparing the demo race …")
        self.stdout.flush()
        call_command("migrate", verbosity=0)
        race_restart(options["runners"])
        children: list[subprocess.Popen[bytes]] = []
        try:
            server = manage("serve", "--verbosity=0")
            children.append(server)
            wait_for(server)
            url = f"http://localhost:{settings.PORT}"
            simulation = manage(
                *("simulate", "--race", SLUG, "--runners", str(options["runners"])),
                *("--url", f"ws://127.0.0.1:{settings.PORT}/ws/", "--incidents"),
                output=subprocess.DEVNULL,
            )
            children.append(simulation)
            self.stdout.write(
                f"\nWatch the demo race: {url}/races/{SLUG}/\n"
                f"Everybody who runs:  {url}/\n"
                "Ctrl-C stops it.\n"
            )
            self.stdout.flush()
            monitor(server, simulation, self.stderr.write)
        except KeyboardInterrupt:
            pass
        finally:
            stop(children)


def race_restart(runners: int) -> None:
    """Create the demo race, or move it so that its last wave is about to start.

    It is created at the first call, or if its course has changed.
    """
    now = timezone.now()
    start = now + WAVES[0][1]
    gpx = demo_gpx(LAPS).encode()
    course = Course.from_gpx(gpx)
    race = Race.objects.filter(slug=SLUG).first()
    with transaction.atomic():
        if race is None:
            race = race_create(
                slug=SLUG,
                name="Park loop",
                course=course,
                waypoints=waypoints_of_gpx(gpx),
                start=start,
                ends=now + DURATION,
            )
        elif len(race.line) != len(course.points):
            race_set_course(race=race, course=course, waypoints=waypoints_of_gpx(gpx))
        race.start, race.ends, race.top_speed = start, now + DURATION, TOP_SPEED_M_PER_S
        race.timezone = "Europe/Dublin"
        race.save()
        entries = field_restart(race, runners)
        past_write(race=race, entries=entries, now=now, random=Random())
        cut_map(race, str(TOWN))


def field_restart(race: Race, runners: int) -> list[Entry]:
    """Enter the field in its waves, as before the start except for DNFs."""
    entries = entries_create(race=race, size=runners)
    waves = [
        Wave.objects.update_or_create(
            race=race, name=name, defaults={"start": timezone.now() + since}
        )[0]
        for name, since, _ in WAVES
    ]
    ends = [*accumulate(share for *_, share in WAVES)]
    for index, entry in enumerate(entries):
        part = next(i for i, end in enumerate(ends) if index < round(end * runners))
        entry.wave = waves[part]
        entry.category = CATEGORIES[index % len(CATEGORIES)]
        entry.club = CLUBS[index % len(CLUBS)]
        entry.status = (
            Entry.Status.DNF if index + 1 == DNF_NUMBER else Entry.Status.REGISTERED
        )
    return entries


def manage(*args: str, output: int | None = None) -> subprocess.Popen[bytes]:
    """Start a management command that ends with this process, however it ends."""
    return subprocess.Popen(
        [sys.executable, "manage.py", *args],
        cwd=settings.BASE_DIR,
        env=ENVIRONMENT | os.environ,
        stdin=subprocess.DEVNULL,
        stdout=output,
        preexec_fn=lambda: end_with_parent(signal.SIGTERM),
    )


def wait_for(server: subprocess.Popen[bytes]) -> None:
    """Return once the server answers; raise CommandError if it does not."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise CommandError("The server did not start; see the messages above.")
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{settings.PORT}/healthz"
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.05)
    raise CommandError(f"The server did not answer within {START_TIMEOUT_S} s.")


def monitor(
    server: subprocess.Popen[bytes],
    simulation: subprocess.Popen[bytes],
    report: Any,
) -> None:
    """Wait until the server ends; report if the simulation stops before it."""
    reported = False
    while server.poll() is None:
        if simulation.poll() is not None and not reported:
            reported = True
            report("The simulated runners have stopped; the server continues.")
        time.sleep(0.5)
    raise CommandError("The server has stopped; see the messages above.")


def stop(children: list[subprocess.Popen[bytes]]) -> None:
    """End the simulation first, as it revokes its runners' tokens."""
    for child in reversed(children):
        child.terminate()
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
