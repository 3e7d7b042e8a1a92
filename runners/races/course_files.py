"""The course of a race as a file: GPX and GeoJSON, with its checkpoints as points."""

from __future__ import annotations

from typing import Any

from gpxpy.gpx import GPX, GPXTrack, GPXTrackPoint, GPXTrackSegment, GPXWaypoint

from runners.models import Race
from runners.races.course import Course


def course_gpx(race: Race) -> str:
    """Return the course as GPX: one track, and a waypoint per checkpoint."""
    course = Course(race.line, race.length)
    segment = GPXTrackSegment(
        [
            GPXTrackPoint(lat, lng, elevation=height)
            for lat, lng, height in course.points
        ]
    )
    track = GPXTrack(name=race.name)
    track.segments.append(segment)
    gpx = GPX()
    gpx.creator = "Spectate"
    gpx.name = race.name
    gpx.tracks.append(track)
    for checkpoint in race.checkpoints.all():
        lat, lng = course.point_at(checkpoint.distance)
        gpx.waypoints.append(GPXWaypoint(lat, lng, name=checkpoint.name))
    return gpx.to_xml()


def course_geojson(race: Race) -> dict[str, Any]:
    """Return the course as GeoJSON: a line, and a point per checkpoint."""
    course = Course(race.line, race.length)
    line = [
        [lng, lat] if height is None else [lng, lat, height]
        for lat, lng, height in course.points
    ]
    properties = {"name": race.name, "length": round(race.length, 1)}
    features = [_feature("LineString", line, properties)]
    for checkpoint in race.checkpoints.all():
        lat, lng = course.point_at(checkpoint.distance)
        about = {
            "name": checkpoint.name,
            "distance": checkpoint.distance,
            "kind": checkpoint.kind,
        }
        features.append(_feature("Point", [lng, lat], about))
    return {"type": "FeatureCollection", "features": features}


def _feature(kind: str, coordinates: list[Any], about: dict[str, Any]) -> Any:
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": about,
    }
