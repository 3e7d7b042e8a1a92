from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from runners.management.checkup import broker, machine, outside
from runners.management.checkup.problem import Problem

Check = Callable[[], Iterator[str | Problem]]

MACHINE: dict[str, Check] = {
    "settings": machine.check_settings,
    "database": machine.check_database,
    "layer": machine.check_layer,
    "mqtt": broker.check_broker,
    "clock": machine.check_clock,
    "map": machine.check_map,
}
# The order of the checks. After a problem, later checks may be impossible.
OUTSIDE: dict[str, Check] = {
    "certificate": outside.check_certificate,
    "address": outside.check_address,
    "browsers": outside.check_browsers,
    "phones": outside.check_phones,
}
REMEDY = "Is it running, is DATABASE_URL right, and may its user write?"


class Command(BaseCommand):
    help = (
        "Check whether everything is ready for a race: database, layer, "
        "MQTT broker, clock and map, and at PUBLIC_URL the certificate, the websocket "
        "and a phone's position. Run it with the server's settings, while "
        "the server runs."
    )
    # These checks report their findings only.
    requires_system_checks = []

    problems = 0

    def handle(self, *args: Any, **options: Any) -> None:
        for subject, check in MACHINE.items():
            self.examine(subject, check)
        for subject, check in OUTSIDE.items():
            if not self.examine(subject, check):
                break
        if self.problems:
            plural = "s" if self.problems > 1 else ""
            raise CommandError(f"{self.problems} problem{plural} found.")
        self.stdout.write("Everything is ready.")

    def examine(self, subject: str, check: Check) -> bool:
        """Print the results of a check; return whether it was completed."""
        try:
            for found in check():
                self.report(subject, found)
        except Problem as problem:
            self.report(subject, problem)
            return False
        except DatabaseError as error:
            reason = " ".join(str(error).split()).rstrip(".")
            self.report(
                subject, Problem(f"The database cannot be used: {reason}.", REMEDY)
            )
            return False
        return True

    def report(self, subject: str, found: str | Problem) -> None:
        if isinstance(found, Problem):
            self.problems += 1
            word = self.style.ERROR("PROBLEM")
        else:
            word = self.style.SUCCESS("ok     ")
        self.stdout.write(f"{word}  {subject:11}  {found}")
