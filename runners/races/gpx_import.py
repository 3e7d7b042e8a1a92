"""Reads GPX files from untrusted sources."""

from __future__ import annotations

import re
from xml.parsers import expat

import gpxpy
from gpxpy.gpx import GPX, GPXException

# Limit of the file. 100,000 points with heights and times take about 12 MB.
MAX_BYTES = 20 * 2**20
# Limit of nested elements. A point's extensions are at depth 6 or 7.
MAX_DEPTH = 32
# The word xmlns without a namespace. gpxpy then searches the rest of the file each
# time, so that many of them take hours.
STRAY_NAMESPACE = re.compile(r"\sxmlns(?![^=]{0,100}=)")
MAX_STRAY = 10

HAS_GPX = re.compile(r"<([^\s<>/]+:)?gpx[\s/>]")
NO_GPX = "This is not a GPX file. Export the course as GPX."


class CourseError(ValueError):
    """A course that cannot be used; the message explains it to the organiser."""


def read_gpx(source: str | bytes) -> GPX:
    """Parse a GPX file; raise CourseError if it is not valid or not safe."""
    if len(source) > MAX_BYTES:
        raise CourseError(
            f"The file is larger than {MAX_BYTES // 2**20} MB. Export the course "
            "without sensor data, and try again."
        )
    text = _decoded(source) if isinstance(source, bytes) else source
    if not HAS_GPX.search(text):
        raise CourseError(NO_GPX)
    # Entities can expand a small file to gigabytes or read the server's files, and no
    # GPX needs them. Nothing is parsed before this check.
    if re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise CourseError(
            "The file declares a document type or entities, which a GPX file does "
            "not need. Export the course again with another program."
        )
    _check_shape(text)
    try:
        return gpxpy.parse(text)
    except (GPXException, ValueError, TypeError, AttributeError) as error:
        raise CourseError(f"The GPX file is damaged: {error}.") from error


def _check_shape(text: str) -> None:
    """Refuse files that are not GPX or that gpxpy cannot parse safely.

    Elements nested 100,000 deep overflow the stack and end the process. Raises
    CourseError.
    """
    depth = 0

    def enter(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth == 1 and name.rpartition(":")[2] != "gpx":
            raise CourseError(NO_GPX)
        if depth > MAX_DEPTH:
            raise CourseError("The file is nested too deeply to be a GPX file.")

    def leave(name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartElementHandler = enter
    parser.EndElementHandler = leave
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise CourseError(f"The GPX file is damaged: {error}.") from error
    if len(STRAY_NAMESPACE.findall(text)) > MAX_STRAY:
        raise CourseError("The file's namespaces are not those of a GPX file.")


def _decoded(source: bytes) -> str:
    if source.startswith((b"\xff\xfe", b"\xfe\xff")):
        return source.decode("utf-16", errors="replace")
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Old programs write names in a Windows encoding and declare UTF-8. The
        # coordinates are the same in both.
        return source.decode("cp1252", errors="replace")
