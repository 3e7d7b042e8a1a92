"""Read GPX files that strangers made."""

from __future__ import annotations

import re

import gpxpy
from gpxpy.gpx import GPX, GPXException

# Bytes; 100,000 points with heights and times are about 12 MB.
MAX_BYTES = 20 * 2**20


class CourseError(ValueError):
    """A course that cannot be used; its text says why, for the organiser."""


def read_gpx(source: str | bytes) -> GPX:
    """Parse a GPX file; raise CourseError if it is none, or does not look safe."""
    if len(source) > MAX_BYTES:
        raise CourseError(
            f"The file is larger than {MAX_BYTES // 2**20} MB. Export the course "
            "without sensor data, and try again."
        )
    text = _decoded(source) if isinstance(source, bytes) else source
    # Entities are how a small file becomes gigabytes or reads the server's files, and
    # no GPX needs them; nothing is parsed before this check.
    if re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise CourseError(
            "The file declares a document type or entities, which a GPX file does "
            "not need. Export the course again with another program."
        )
    if not re.search(r"<(\w+:)?gpx[\s>]", text):
        raise CourseError("This is not a GPX file. Export the course as GPX.")
    try:
        return gpxpy.parse(text)
    except (GPXException, ValueError, TypeError, AttributeError, RecursionError) as e:
        raise CourseError(f"The GPX file is damaged: {e}.") from e


def _decoded(source: bytes) -> str:
    if source.startswith((b"\xff\xfe", b"\xfe\xff")):
        return source.decode("utf-16", errors="replace")
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Old programs write names in Windows' encoding and declare UTF-8; the
        # coordinates read the same.
        return source.decode("cp1252", errors="replace")
