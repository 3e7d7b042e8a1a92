"""Reads the positions of FIT, TCX and GPX files from untrusted sources."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, ParseError

import fitdecode
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse
from django.utils.translation import gettext as _

from runners.positions.fix import Fix
from runners.positions.validation import FixError, read_fix

# Twelve hours with a position per second are 3 MB as FIT, and 7 MB as GPX.
MAX_BYTES = 7 * 2**20
# Records that are read. Two days have 172,800 seconds.
MAX_RECORDS = 200_000
# Frames of a FIT file, and starts and ends of elements of an XML file, that are read.
# Nearly all frames of a run have positions.
MAX_FRAMES = 400_000
MAX_EVENTS = 1_000_000
# A point's extensions are at depth 6 or 7.
MAX_DEPTH = 32
# Angles in a FIT file are parts of a circle of 2 ** 32.
SEMICIRCLE_DEGREES = 180 / 2**31
# The frames of a FIT file that have positions, by number in Garmin's profile.
RECORD = 20
TRAIL = {"gpx": "trkpt", "TrainingCenterDatabase": "Trackpoint"}


# One file at a time: it may take 250 MiB.
_reading = threading.Lock()


class FileError(ValueError):
    """A file that cannot be used; the message explains it to whoever uploads it."""


class Point(NamedTuple):
    """A position as the file has it; `t` in seconds since the epoch, or None."""

    t: float | None
    lat: Any
    lng: Any
    altitude: Any = None


def read_file(content: bytes) -> list[Fix]:
    """Return the positions of a file, oldest first; raises `FileError`."""
    if len(content) > MAX_BYTES:
        raise FileError(
            _("The file is larger than {size} MB. Upload the FIT file.").format(
                size=MAX_BYTES >> 20
            )
        )
    with _reading:
        points = list(_points(content))
    if not points:
        raise FileError(_("The file has no positions. Was GPS on?"))
    timed = [point for point in points if point.t is not None]
    if not timed:
        raise FileError(
            _("The positions have no times. Export the activity, not its route.")
        )
    fixes = {fix.t: fix for point in timed if (fix := _fix(point)) is not None}
    return sorted(fixes.values(), key=lambda fix: fix.t)


def _points(content: bytes) -> Iterator[Point]:
    is_fit = content[8:12] == b".FIT"
    for number, point in enumerate(_fit(content) if is_fit else _xml(content)):
        if number >= MAX_RECORDS:
            raise FileError(_too_many())
        yield point


def _fix(point: Point) -> Fix | None:
    """Return a position, or None for one that cannot be on earth."""
    try:
        fields = {"lat": float(point.lat), "lng": float(point.lng)}
        t = round((point.t or 0) * 1000)
        return read_fix({**fields, "t": t, "altitude": _number(point.altitude)})
    except (FixError, TypeError, ValueError, OverflowError):
        return None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


# -- FIT


def _fit(content: bytes) -> Iterator[Point]:
    """Read the records of a FIT file, also of one that ends too early."""
    try:
        with fitdecode.FitReader(
            io.BytesIO(content),
            # A watch whose battery died has not written the end of the file.
            check_crc=fitdecode.CrcCheck.DISABLED,
            error_handling=fitdecode.ErrorHandling.IGNORE,
        ) as reader:
            for number, frame in enumerate(reader):
                if number >= MAX_FRAMES:
                    raise FileError(_too_many())
                is_data = isinstance(frame, fitdecode.FitDataMessage)
                if is_data and frame.global_mesg_num == RECORD:
                    yield from _record(frame)
    except fitdecode.FitEOFError:
        return
    except FileError:
        raise
    # The library raises undocumented exceptions for damaged parts.
    except Exception as error:
        raise FileError(_("The FIT file is damaged.")) from error


def _record(frame: Any) -> Iterator[Point]:
    lat, lng, altitude, time = (
        frame.get_value(name, fallback=None)
        for name in ("position_lat", "position_long", "altitude", "timestamp")
    )
    if lat is None or lng is None:
        return
    t = time.timestamp() if isinstance(time, datetime) else None
    yield Point(t, lat * SEMICIRCLE_DEGREES, lng * SEMICIRCLE_DEGREES, altitude)


# -- TCX and GPX


def _xml(content: bytes) -> Iterator[Point]:
    """Read the track of a TCX or GPX file. Entities and DTDs are refused."""
    depth = 0
    trail = None
    try:
        events = iterparse(io.BytesIO(content), ("start", "end"), forbid_dtd=True)
        for number, (event, element) in enumerate(events):
            if number >= MAX_EVENTS:
                raise FileError(_too_many())
            depth += 1 if event == "start" else -1
            if trail is None:
                trail = TRAIL.get(_name(element))
            if trail is None:
                raise FileError(_not_readable())
            if depth > MAX_DEPTH:
                raise FileError(_("The file is nested too deeply."))
            if event == "end" and _name(element) == trail:
                point = _point(element)
                if point.lat is not None and point.lng is not None:
                    yield point
                element.clear()
    except DefusedXmlException as error:
        raise FileError(_("The file declares entities. Export it again.")) from error
    except (ParseError, ValueError, LookupError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(
            _not_readable() if trail is None else _("The file is damaged.")
        ) from error


def _too_many() -> str:
    return _("The file has too many positions.")


def _not_readable() -> str:
    return _("This is not a FIT, TCX or GPX file.")


def _point(element: Element) -> Point:
    values = {_name(child): child.text for child in element.iter()}
    lat = element.get("lat", values.get("LatitudeDegrees"))
    lng = element.get("lon", values.get("LongitudeDegrees"))
    time = values.get("time") or values.get("Time")
    altitude = values.get("ele") or values.get("AltitudeMeters")
    return Point(_seconds(time), lat, lng, altitude)


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _seconds(text: str | None) -> float | None:
    """Return a time of ISO 8601; without a zone it is in UTC, as GPX says."""
    try:
        moment = datetime.fromisoformat((text or "").strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
