from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from runners.management.options import read_file, read_moment
from runners.positions.fix import Fix
from runners.positions.validation import EARLIEST_MS, FixError, check_fix, fix_from
from runners.races.course import Course, waypoints_of_gpx
from runners.races.gpx_import import CourseError, read_gpx
from runners.races.progress import Guide, Mark
from runners.races.setup import propose_checkpoints
from runners.races.splits import Passing
from runners.races.trace import Traced, trace
from runners.units.clock import milliseconds

# The same as that of a race.
MIN_TOP_SPEED_MPS = 1.0
# 9999-12-31. Larger times are not in milliseconds.
LATEST_MS = 253_402_300_799_999
# Of the fixes that are refused, the first are reported one by one.
MAX_REPORTED = 10
# The beginning of XML in UTF-8 or UTF-16, with or without a byte order mark.
MARKUP = re.compile(rb"[\xef\xbb\xbf\xfe\xff\s\0]*<")


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
        if not MIN_TOP_SPEED_MPS <= options["top_speed"] < math.inf:
            raise CommandError(f"--top-speed must be at least {MIN_TOP_SPEED_MPS:g}.")
        guide = _guide(options["course"], options["top_speed"])
        fixes = list(self._fixes(options["fixes"]))
        if not fixes:
            raise CommandError(f"{options['fixes']}: no valid fix has a time.")
        gun = milliseconds(start) if start else min(fix.t for fix in fixes)
        if gun > max(fix.t for fix in fixes):
            self.stderr.write(f"{options['fixes']}: all fixes are before --start.")
        for traced in trace(guide, gun, fixes):
            self.stdout.write(json.dumps(_as_json(traced)))

    def _fixes(self, name: str) -> Iterator[Fix]:
        """Yield the valid fixes of a file, and report the others."""
        refused = 0
        for where, message in _messages(name):
            try:
                yield _fix_of(message)
            except FixError as error:
                refused += 1
                if refused <= MAX_REPORTED:
                    self.stderr.write(f"{name}, {where}: {error.detail}")
        if refused > MAX_REPORTED:
            self.stderr.write(f"{name}: {refused} fixes were refused.")


def _guide(name: str, top_speed: float) -> Guide:
    content = read_file(name)
    try:
        course = Course.from_gpx(content)
        checkpoints = propose_checkpoints(course, waypoints_of_gpx(content))
    except CourseError as error:
        raise CommandError(f"{name}: {error}") from error
    marks = [Mark(n, c.distance, c.kind) for n, c in enumerate(checkpoints)]
    return Guide(course, marks, top_speed=top_speed)


def _messages(name: str) -> Iterator[tuple[str, Any]]:
    """Yield where each fix of a file is, and its fields."""
    try:
        with Path(name).open("rb") as file:
            if MARKUP.match(file.peek()):
                yield from _messages_of_gpx(name, file.read())
            else:
                yield from _messages_of_lines(file)
    except OSError as error:
        raise CommandError(f"Cannot read {name}: {error.strerror}.") from error


def _messages_of_gpx(name: str, content: bytes) -> Iterator[tuple[str, Any]]:
    try:
        gpx = read_gpx(content)
    except CourseError as error:
        raise CommandError(f"{name}: {error}") from error
    points = (
        point
        for track in gpx.tracks
        for part in track.segments
        for point in part.points
    )
    for number, point in enumerate(points, start=1):
        t = None if point.time is None else milliseconds(point.time)
        lat, lng = point.latitude, point.longitude
        yield f"point {number}", {"t": t, "lat": lat, "lng": lng}


def _messages_of_lines(lines: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(lines, start=1):
        text = line.removeprefix(b"\xef\xbb\xbf").strip()
        if text:
            try:
                message = orjson.loads(text)
            except ValueError:
                message = None
            yield f"line {number}", message


def _fix_of(message: Any) -> Fix:
    if not isinstance(message, dict):
        raise FixError("position.invalid", "not a JSON object.")
    t = message.get("t")
    if t is None:
        raise FixError("position.invalid", "there is no time.")
    if type(t) not in (int, float) or not EARLIEST_MS <= t <= LATEST_MS:
        raise FixError("position.invalid", "t must be milliseconds since the epoch.")
    fix = fix_from(message, round(t))
    check_fix(fix, fix.t)
    return fix


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
