"""The course of a race: a line on the ground, measured along it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import polyline
from gpxpy.gpx import GPX
from pyproj import Geod, Transformer

from runners.races.gpx_import import CourseError, read_gpx

# A course measured every 2 m over 160 km has 80,000 points. More are an error or an
# attack.
MAX_POINTS = 100_000
WGS84 = Geod(ellps="WGS84")


@dataclass(frozen=True)
class Waypoint:
    """A named point of a GPX file, not necessarily on the course."""

    name: str
    lat: float
    lng: float


class Course:
    """A line of (lat, lng, height) points, in running order.

    Distances are metres along the line from the start, by the geodesic on WGS 84.
    Heights are in metres, None if the file has none.
    """

    def __init__(
        self, points: Iterable[Sequence[float | None]], length: float | None = None
    ) -> None:
        """Build it from (lat, lng) or (lat, lng, height) points; raise CourseError.

        Repeated points count once. `length` is the certified one in metres, to which
        all distances are scaled; 0 or None keeps the measured one.
        """
        kept: list[tuple[float, float, float | None]] = []
        for number, point in enumerate(points, start=1):
            if number > MAX_POINTS:
                raise CourseError(
                    f"The course has more than {MAX_POINTS:,} points. "
                    "Simplify it, to one point every few metres, and try again."
                )
            lat, lng, height = _checked(point, number)
            if not kept or kept[-1][:2] != (lat, lng):
                kept.append((lat, lng, height))
        if not kept:
            raise CourseError("The course has no points.")
        if len(kept) < 2:
            raise CourseError(
                "The course has only one point. It needs at least two different points."
            )
        self.points = kept
        self.lats = [point[0] for point in kept]
        self.lngs = [point[1] for point in kept]
        self.distances: list[float] = [
            0.0,
            *accumulate(WGS84.line_lengths(self.lngs, self.lats)),
        ]
        self.measured = self.distances[-1]
        if length:
            scale = length / self.measured
            self.distances = [distance * scale for distance in self.distances]
            self.distances[-1] = length

    @classmethod
    def from_gpx(cls, source: str | bytes) -> Course:
        """Read a GPX file's first track, else its first route, else its waypoints.

        Raises CourseError.
        """
        return cls(_line(read_gpx(source)))

    @property
    def length(self) -> float:
        """Return the length in metres: the certified one if there is one."""
        return self.distances[-1]

    def point_at(self, distance: float) -> tuple[float, float]:
        """Return (lat, lng) at metres from the start; beyond an end, that end."""
        if distance <= 0:
            return self.lats[0], self.lngs[0]
        if distance >= self.length:
            return self.lats[-1], self.lngs[-1]
        before = bisect_right(self.distances, distance) - 1
        here, there = self.distances[before], self.distances[before + 1]
        part = (distance - here) / (there - here)
        lat, lng = self.lats[before], self.lngs[before]
        return (
            lat + part * (self.lats[before + 1] - lat),
            _wrap(lng + part * _wrap(self.lngs[before + 1] - lng)),
        )

    @property
    def known_heights(self) -> list[tuple[float, float]]:
        """Pairs of a distance and the height there, where it is known."""
        return [
            (distance, point[2])
            for distance, point in zip(self.distances, self.points, strict=True)
            if point[2] is not None
        ]

    @cached_property
    def encoded(self) -> str:
        """Return the line as an encoded polyline of precision 5."""
        return polyline.encode(list(zip(self.lats, self.lngs, strict=True)), 5)

    def passes(self, lat: float, lng: float, *, within: float) -> list[float]:
        """Return the distances at which the course passes a point, in order.

        One for each time that the line comes within this many metres: two on an out and
        back, none for a point off the course.
        """
        x, y = self.flat
        to_flat = self.to_flat
        place_x, place_y = to_flat.transform(lng, lat)
        run_x, run_y = np.diff(x), np.diff(y)
        squared = run_x**2 + run_y**2
        # Points closer than the precision of the projection.
        squared[squared == 0] = np.finfo(float).tiny
        part = np.clip(
            ((place_x - x[:-1]) * run_x + (place_y - y[:-1]) * run_y) / squared, 0, 1
        )
        off_x, off_y = x[:-1] + part * run_x - place_x, y[:-1] + part * run_y - place_y
        gap = np.hypot(off_x, off_y)
        near = np.flatnonzero(gap <= within)
        # A pass continues from one segment to the next if the point between them is
        # near too. Otherwise the line has left and returned.
        joint = np.hypot(x[near] - place_x, y[near] - place_y)
        breaks = np.flatnonzero((np.diff(near) > 1) | (joint[1:] > within)) + 1
        found: list[float] = []
        for visit in np.split(near, breaks):
            if visit.size:
                best = int(visit[np.argmin(gap[visit])])
                here, there = self.distances[best], self.distances[best + 1]
                found.append(here + float(part[best]) * (there - here))
        return found

    @cached_property
    def to_flat(self) -> Transformer:
        """Project (lng, lat) to metres around the centre.

        Exact to 0.01 % within 100 km.
        """
        middle = self.lngs[0]
        east = [_wrap(lng - middle) for lng in self.lngs]
        lat = (min(self.lats) + max(self.lats)) / 2
        lng = _wrap(middle + (min(east) + max(east)) / 2)
        return Transformer.from_crs(
            "EPSG:4326",
            f"+proj=aeqd +lat_0={lat} +lon_0={lng} +datum=WGS84 +units=m",
            always_xy=True,
        )

    @cached_property
    def flat(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the points' x and y as `to_flat` projects them, in metres."""
        x, y = self.to_flat.transform(np.array(self.lngs), np.array(self.lats))
        return x, y


def waypoints_of_gpx(source: str | bytes) -> list[Waypoint]:
    """Read a GPX file's named waypoints, in its order; raise CourseError."""
    return [
        Waypoint(name, point.latitude, point.longitude)
        for point in read_gpx(source).waypoints
        if (name := " ".join((point.name or "").split()))
    ]


def _line(gpx: GPX) -> list[tuple[float, float, float | None]]:
    for track in gpx.tracks:
        if points := [p for segment in track.segments for p in segment.points]:
            return [(p.latitude, p.longitude, p.elevation) for p in points]
    for route in gpx.routes:
        if route.points:
            return [(p.latitude, p.longitude, p.elevation) for p in route.points]
    if len(gpx.waypoints) > 1:
        return [(p.latitude, p.longitude, p.elevation) for p in gpx.waypoints]
    raise CourseError(
        "The file has no track and no route. Export the course as a track."
    )


def _checked(
    point: Sequence[float | None], number: int
) -> tuple[float, float, float | None]:
    lat, lng, height = (*point, None)[:3]
    # Written so that NaN fails too.
    if lat is None or lng is None or not (-90 <= lat <= 90 and -180 <= lng <= 180):
        raise CourseError(
            f"Point {number} of the course is not on earth: latitude {lat}, "
            f"longitude {lng}."
        )
    if height is not None and not math.isfinite(height):
        height = None
    return lat, lng, height


def _wrap(lng: float) -> float:
    """Bring a longitude, or a difference of two, into -180 to 180."""
    return (lng + 180) % 360 - 180 if not -180 <= lng <= 180 else lng
