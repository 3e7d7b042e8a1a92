"""Writes files as watches do.

FIT as in Garmin's "FIT Protocol" (developer.garmin.com/fit/protocol/): a header, a
definition message, data messages, a checksum. TCX as in its TrainingCenterDatabase v2
schema, GPX 1.1 as in topografix.com/GPX/1/1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

# 1989-12-31, from which FIT counts seconds.
FIT_EPOCH_S = 631_065_600
NIBBLES = (
    *(0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401),
    *(0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400),
)
NO_POSITION = 0x7FFFFFFF


class At(NamedTuple):
    """A position: seconds since the epoch, degrees."""

    t: float
    lat: float
    lng: float


def fit(points: Sequence[At]) -> bytes:
    """Return a FIT file with a file_id and a record per point, one without GPS."""
    body = _definition(0, 0, [(0, 1, 0x00)]) + bytes([0, 4])
    fields = [(253, 4, 0x86), (0, 4, 0x85), (1, 4, 0x85), (2, 2, 0x84)]
    body += _definition(1, 20, fields)
    start = int(points[0].t if points else FIT_EPOCH_S + 1)
    body += _record(start - 1, NO_POSITION, NO_POSITION)
    for t, lat, lng in points:
        semicircles = (round(degrees * 2**31 / 180) for degrees in (lat, lng))
        body += _record(int(t), *semicircles)
    header = struct.pack("<BBHI4s", 14, 0x20, 2132, len(body), b".FIT")
    header += struct.pack("<H", _checksum(header))
    return header + body + struct.pack("<H", _checksum(header + body))


def _definition(
    local: int, number: int, fields: Sequence[tuple[int, int, int]]
) -> bytes:
    head = struct.pack("<BBBHB", 0x40 | local, 0, 0, number, len(fields))
    return head + b"".join(bytes(field) for field in fields)


def _record(t: int, lat: int, lng: int) -> bytes:
    altitude = 5 * (100 + 500)
    return struct.pack("<BIiiH", 1, t - FIT_EPOCH_S, lat, lng, altitude)


def _checksum(content: bytes) -> int:
    crc = 0
    for byte in content:
        for nibble in (byte & 0xF, byte >> 4):
            crc = (crc >> 4) & 0x0FFF ^ NIBBLES[crc & 0xF] ^ NIBBLES[nibble]
    return crc


def tcx(points: Sequence[At]) -> bytes:
    """Return a TCX file, with a trackpoint without a position."""
    rows = "".join(
        f"<Trackpoint><Time>{_iso(t)}</Time><Position><LatitudeDegrees>{lat}"
        f"</LatitudeDegrees><LongitudeDegrees>{lng}</LongitudeDegrees></Position>"
        "<AltitudeMeters>100</AltitudeMeters><HeartRateBpm><Value>150</Value>"
        "</HeartRateBpm></Trackpoint>"
        for t, lat, lng in points
    )
    return (
        '<?xml version="1.0"?><TrainingCenterDatabase xmlns="http://www.garmin.com/'
        'xmlschemas/TrainingCenterDatabase/v2"><Activities><Activity Sport="Running">'
        "<Id>2026-05-31T07:00:00Z</Id><Lap><Track><Trackpoint><Time>"
        f"2026-05-31T07:00:00Z</Time></Trackpoint>{rows}</Track></Lap></Activity>"
        "</Activities></TrainingCenterDatabase>"
    ).encode()


def gpx(points: Sequence[At], *, timed: bool = True) -> bytes:
    rows = "".join(
        f'<trkpt lat="{lat}" lon="{lng}"><ele>100</ele>'
        + (f"<time>{_iso(t)}</time>" if timed else "")
        + "<extensions><hr>150</hr></extensions></trkpt>"
        for t, lat, lng in points
    )
    return (
        '<?xml version="1.0"?><gpx version="1.1" xmlns="http://www.topografix.com/'
        f'GPX/1/1"><trk><trkseg>{rows}</trkseg></trk></gpx>'
    ).encode()


def _iso(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).isoformat().replace("+00:00", "Z")


FORMATS: dict[str, Callable[[Sequence[At]], bytes]] = {
    "fit": fit,
    "tcx": tcx,
    "gpx": gpx,
}
