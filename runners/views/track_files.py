"""Tracks as JSON and GPX, read and written in parts of bounded size.

A track of a day has up to 86,400 points. Whole documents in memory let 16 requests in
parallel take 1 GB.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol
from xml.sax.saxutils import escape

import orjson
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from runners import database
from runners.models import Position, Runner
from runners.positions.retention import needed
from runners.serving.turns import Turns
from runners.units.clock import milliseconds
from runners.views.turns import network

# The points of one part, and of the first one, which is read with the request.
PART = 2_000
FIRST_PART = 200
# Exports are continued one part at a time, and rest as long as a part has taken: half
# of a core at most, however many they are.
_exports = Turns(1)
# Longer than between two fixes of one segment.
SILENCE = timedelta(minutes=10)


# The columns of a point; the first one is its time.
POINT = ("recorded_at", "lat", "lng", "altitude")
Row = tuple[Any, ...]


class TrackFile(Protocol):
    """Writes a track, part by part; its `columns` begin with `recorded_at`."""

    content_type: str
    columns: tuple[str, ...]

    def start(self) -> bytes: ...

    def part(self, points: Sequence[Row]) -> bytes:
        """Write the next points; at least one."""

    def end(self) -> bytes: ...


class TrackJson:
    """Writes `{code, detail, points: [[t, lat, lng, altitude]]}`.

    `detail`: points this near to the line of the others (metres) are left out. The
    first and the last point of each part stay.
    """

    content_type = "application/json"
    columns: tuple[str, ...] = POINT

    def __init__(self, code: str, detail: float) -> None:
        self._head = orjson.dumps({"code": code, "detail": detail})[:-1]
        self._detail = detail
        self._separator = b""

    def start(self) -> bytes:
        return self._head + b',"points":['

    def part(self, points: Sequence[Row]) -> bytes:
        if self._detail:
            rows = [(n, lat, lng) for n, (_, lat, lng, _) in enumerate(points)]
            points = [points[n] for n in sorted(needed(rows, self._detail))]
        rows_of_file = [
            [milliseconds(at), round(lat, 6), round(lng, 6), altitude]
            for at, lat, lng, altitude in points
        ]
        written = self._separator + orjson.dumps(rows_of_file)[1:-1]
        self._separator = b","
        return written

    def end(self) -> bytes:
        return b"]}"


class ExportJson:
    """Writes a runner's own data: `{code, name, positions, calls_for_help}`.

    The last two are lists of objects with model fields in SI units.
    """

    content_type = "application/json"
    columns: tuple[str, ...] = (
        *("recorded_at", "stored_at", "lat", "lng", "accuracy", "altitude"),
        *("speed", "heading", "battery", "source"),
    )

    def __init__(self, runner: Runner) -> None:
        self._head = orjson.dumps({"code": runner.code, "name": runner.name})[:-1]
        fields = ("called_at", "placed_at", "lat", "lng", "accuracy", "battery")
        self._calls = _json(list(runner.sos.values(*fields)))
        self._separator = b""

    def start(self) -> bytes:
        return self._head + b',"positions":['

    def part(self, points: Sequence[Row]) -> bytes:
        rows = [dict(zip(self.columns, point, strict=True)) for point in points]
        written = self._separator + _json(rows)[1:-1]
        self._separator = b","
        return written

    def end(self) -> bytes:
        return b'],"calls_for_help":' + self._calls + b"}"


def _json(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows, cls=DjangoJSONEncoder).encode()


class TrackGpx:
    """Writes GPX; a silence starts a new segment."""

    content_type = "application/gpx+xml"
    columns: tuple[str, ...] = POINT

    def __init__(self, name: str) -> None:
        self._name = name
        self._last: datetime | None = None

    def start(self) -> bytes:
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<gpx xmlns="http://www.topografix.com/GPX/1/1" version="1.1" '
            f'creator="Spectate">\n<trk>\n<name>{escape(self._name)}</name>\n'
        ).encode()

    def part(self, points: Sequence[Row]) -> bytes:
        return "".join(map(self._point, points)).encode()

    def _point(self, point: Row) -> str:
        at, lat, lng, altitude = point
        last, self._last = self._last, at
        segment = ""
        if last is None:
            segment = "<trkseg>\n"
        elif at - last > SILENCE:
            segment = "</trkseg>\n<trkseg>\n"
        height = "" if altitude is None else f"<ele>{altitude:.2f}</ele>"
        return (
            f'{segment}<trkpt lat="{lat:.7f}" lon="{lng:.7f}">{height}'
            f"<time>{at.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z</time>"
            "</trkpt>\n"
        )

    def end(self) -> bytes:
        segment = b"" if self._last is None else b"</trkseg>\n"
        return segment + b"</trk>\n</gpx>\n"


def track_response(
    request: HttpRequest, file: TrackFile, positions: QuerySet[Position]
) -> HttpResponseBase:
    """Return a response with a track, streamed if it is long.

    The first part is read before the response, so that an unavailable database is a
    reply.
    """
    first = _part(file, positions, FIRST_PART)
    if first.last is None:
        body = file.start() + first.written + file.end()
        return HttpResponse(body, content_type=file.content_type)
    return StreamingHttpResponse(
        _stream(network(request), file, positions, first),
        content_type=file.content_type,
    )


class Part(NamedTuple):
    """A written part; `last` is its newest time if there may be more."""

    written: bytes
    last: datetime | None


def _part(
    file: TrackFile,
    positions: QuerySet[Position],
    most: int,
    after: datetime | None = None,
) -> Part:
    if after is not None:
        positions = positions.filter(recorded_at__gt=after)
    rows: Any = positions.order_by("recorded_at").values_list(*file.columns)
    points = list(rows[:most])
    written = file.part(points) if points else b""
    return Part(written, points[-1][0] if len(points) == most else None)


async def _stream(
    network: str, file: TrackFile, positions: QuerySet[Position], part: Part
) -> AsyncIterator[bytes]:
    yield file.start() + part.written
    while part.last is not None:
        # In the thread for long work: others read meanwhile.
        async with _exports.turn(network):
            began = time.monotonic()
            part = await database.work(_part, file, positions, PART, part.last)
            await asyncio.sleep(time.monotonic() - began)
        yield part.written
    yield file.end()
