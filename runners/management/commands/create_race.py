from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from runners.management.errors import database_needed
from runners.management.options import read_file, read_moment
from runners.maps.archive import ArchiveError
from runners.maps.cutting import cut_map
from runners.models.errors import one_line
from runners.models.race import valid_timezone
from runners.races.course import Course, waypoints_of_gpx
from runners.races.course_check import REPAIRS, course_problems, repair_course
from runners.races.gpx_import import CourseError
from runners.races.setup import race_create


class Command(BaseCommand):
    help = (
        "Create a race from a GPX file: its course, and checkpoints at the start, the "
        "finish, every 5 km (1 km on a course under 10 km) and the file's waypoints. "
        "Prints one line of JSON."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE.gpx")
        parser.add_argument("--name", required=True)
        parser.add_argument("--slug", required=True, help="used in /races/SLUG/")
        parser.add_argument(
            "--timezone",
            metavar="ZONE",
            default="UTC",
            help="the time zone of the race's pages and of times without an offset, "
            "such as Europe/Dublin; default: UTC",
        )
        parser.add_argument("--start", metavar="ISO", help="default: now")
        parser.add_argument("--ends", metavar="ISO", help="default: 48 h after start")
        parser.add_argument(
            "--mend",
            choices=REPAIRS,
            action="append",
            default=[],
            help="mend the course as its warnings say; may be repeated",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        zone = options["timezone"]
        try:
            valid_timezone(zone)
        except ValidationError as error:
            raise CommandError(f"--timezone: {one_line(error)}") from error
        start = read_moment("--start", options["start"], zone) or timezone.now()
        ends = read_moment("--ends", options["ends"], zone)
        content = read_file(options["file"])
        try:
            course = repair_course(Course.from_gpx(content), options["mend"])
            with database_needed():
                race = race_create(
                    slug=options["slug"],
                    name=options["name"].strip(),
                    course=course,
                    waypoints=waypoints_of_gpx(content),
                    start=start,
                    ends=ends,
                    zone=zone,
                )
        except CourseError as error:
            raise CommandError(f"{options['file']}: {error}") from error
        except ValidationError as error:
            raise CommandError(one_line(error)) from error
        if settings.SPECTATE_MAP_SOURCE:
            try:
                cut_map(race, settings.SPECTATE_MAP_SOURCE)
            except ArchiveError as error:
                self.stderr.write(f"The race has no streets on its map: {error}")
        for problem in course_problems(course):
            hint = f" (--mend {problem.repair})" if problem.repair else ""
            self.stderr.write(f"{options['file']}: {problem.text}{hint}")
        self.stdout.write(
            json.dumps(
                {
                    "slug": race.slug,
                    "name": race.name,
                    "start": race.start.isoformat(),
                    "ends": race.ends.isoformat(),
                    "timezone": race.timezone,
                    "length": round(race.length, 1),
                    "checkpoints": race.checkpoints.count(),
                }
            )
        )
