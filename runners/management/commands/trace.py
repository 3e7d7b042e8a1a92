from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runners.management.options import read_file, read_moment
from runners.positions.fix import Fix
from runners.positions.validation import EARLIEST_MS, FixError, fix_from
from runners.races.course import Course, waypoints_of_gpx
from runners.races.gpx_import import CourseError, read_gpx
from runners.races.progress import Guide, Mark
from runners.races.setup import propose_checkpoints
from runners.races.splits import Passing
from runners.races.trace import Traced, trace
from runners.units.clock import milliseconds


class Command(BaseCommand):
    help = (
        "Follow recorded fixes along a course as in a race: one line of "
        "JSON per fix and per split. Checkpoints are those that create_race "
        "creates. Needs no database."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("course", metavar="COURSE.gpx")
        parser.add_argument(
            "fixes",
            metavar="FIXES",
            help="GPX with times, or lines of JSON in the order of arrival, each with "
            "t (ms), lat, lng and, where known, accuracy, speed and heading",
        )
        parser.add_argument(
            "--top-speed", type=float, default=12.5, metavar="M/S", help="default: 12.5"
        )
        parser.add_argument("--start", metavar="ISO", help="default: the first fix")

    def handle(self, *args: Any, **options: Any) -> None:
        start = read_moment("--start", options["start"])
        guide = _guide(options["course"], options["top_speed"])
        fixes = list(self._fixes(options["fixes"]))
        if not fixes:
            raise CommandError(f"{options['fixes']}: no fix has a time.")
        gun = milliseconds(start) if start else min(fix.t for fix in fixes)
        for traced in trace(guide, gun, fixes):
            self.stdout.write(json.dumps(_as_json(traced)))

    def _fixes(self, name: str) -> Iterator[Fix]:
        content = read_file(name)
        if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            yield from _fixes_of_gpx(name, content)
            return
        for number, line in enumerate(content.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                yield _fix_of_line(line)
            except FixError as error:
                self.stderr.write(f"{name}, line {number}: {error.detail}")


def _guide(name: str, top_speed: float) -> Guide:
    content = read_file(name)
    try:
        course = Course.from_gpx(content)
        checkpoints = propose_checkpoints(course, waypoints_of_gpx(content))
    except CourseError as error:
        raise CommandError(f"{name}: {error}") from error
    marks = [Mark(n, c.distance, c.kind) for n, c in enumerate(checkpoints)]
    return Guide(course, marks, top_speed=top_speed)


def _fixes_of_gpx(name: str, content: bytes) -> Iterable[Fix]:
    try:
        gpx = read_gpx(content)
    except CourseError as error:
        raise CommandError(f"{name}: {error}") from error
    return [
        Fix(milliseconds(point.time), point.latitude, point.longitude)
        for track in gpx.tracks
        for segment in track.segments
        for point in segment.points
        if point.time is not None
    ]


def _fix_of_line(line: bytes) -> Fix:
    try:
        message = json.loads(line)
        t = message["t"]
    except (ValueError, TypeError, KeyError) as error:
        raise FixError("position.invalid", "not an object with t.") from error
    if type(t) is not int or t < EARLIEST_MS:
        raise FixError("position.invalid", "t must be milliseconds since the epoch.")
    return fix_from(message, t)


def _as_json(traced: Traced | Passing) -> dict[str, Any]:
    if isinstance(traced, Passing):
        return {
            "split": round(traced.distance, 1),
            "at": traced.at,
            "uncertainty": round(traced.uncertainty, 1),
        }
    progress, uncertainty = traced.progress, traced.uncertainty
    return {
        "t": traced.t,
        "progress": None if progress is None else round(progress, 1),
        "uncertainty": None if uncertainty is None else round(uncertainty, 1),
        "state": traced.state,
    }
