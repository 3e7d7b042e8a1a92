from __future__ import annotations

import math
from itertools import pairwise

import polyline
import pytest
from geographiclib.geodesic import Geodesic
from pyproj import Geod

from runners.races.course import MAX_POINTS, Course, waypoints_of_gpx
from runners.races.demo import demo_gpx, demo_points
from runners.races.gpx_import import MAX_BYTES, CourseError
from tests import courses

# A square near Bob's home, about 111 m by 111 m.
SQUARE = [(0.0, 0.0), (0.001, 0.0), (0.001, 0.001), (0.0, 0.001), (0.0, 0.0)]


def gpx(inside: str) -> str:
    return f'<?xml version="1.0"?><gpx version="1.1" creator="test">{inside}</gpx>'


def track(*points: tuple[object, object]) -> str:
    inside = "".join(f'<trkpt lat="{lat}" lon="{lng}"/>' for lat, lng in points)
    return gpx(f"<trk><trkseg>{inside}</trkseg></trk>")


def test_length_is_the_geodesic() -> None:
    course = Course(SQUARE)

    lats, lngs = zip(*SQUARE, strict=True)
    expected = Geod(ellps="WGS84").line_length(lngs, lats)
    assert course.length == pytest.approx(expected, rel=1e-9)
    assert course.distances[0] == 0
    assert course.distances == sorted(course.distances)


@pytest.mark.parametrize("name", [*courses.NAMES, None])
def test_length_agrees_with_geographiclib(name: courses.Name | None) -> None:
    course = courses.course(name) if name else Course(SQUARE)

    places = list(zip(course.lats, course.lngs, strict=True))
    expected = sum(
        Geodesic.WGS84.Inverse(*here, *there, Geodesic.DISTANCE)["s12"]
        for here, there in pairwise(places)
    )
    assert course.measured == pytest.approx(expected, rel=1e-4)
    # The flat projection of map matching has the same accuracy.
    x, y = course.flat
    flat = sum(math.dist(a, b) for a, b in pairwise(zip(x, y, strict=True)))
    assert flat == pytest.approx(expected, rel=1e-4)


def test_distances_are_scaled_to_the_certified_length() -> None:
    measured, certified = Course(SQUARE), Course(SQUARE, length=500)

    assert certified.length == 500
    assert certified.measured == measured.length
    assert certified.point_at(125) == pytest.approx(
        measured.point_at(measured.length / 4), abs=1e-9
    )
    assert certified.passes(0.001, 0.0005, within=5)[0] == pytest.approx(
        measured.passes(0.001, 0.0005, within=5)[0] * 500 / measured.length
    )
    assert Course(SQUARE, length=0).length == measured.length


def test_consecutive_duplicates_count_once() -> None:
    course = Course([SQUARE[0], SQUARE[0], SQUARE[1], SQUARE[1], SQUARE[0]])

    assert course.points == [(0.0, 0.0, None), (0.001, 0.0, None), (0.0, 0.0, None)]


def test_heights_are_kept() -> None:
    course = Course([(0, 0, 12.5), (0.001, 0, None), (0.002, 0, float("nan"))])

    assert [height for _, _, height in course.points] == [12.5, None, None]


@pytest.mark.parametrize(
    ("distance", "position"),
    [(-5, (0, 0)), (0, (0, 0)), (10_000, (0, 0)), (55.287, (0.0005, 0))],
)
def test_point_at_stays_on_the_line(
    distance: float, position: tuple[float, float]
) -> None:
    assert Course(SQUARE).point_at(distance) == pytest.approx(position, abs=1e-6)


def test_point_at_crosses_the_date_line() -> None:
    course = Course([(0, 179.9995), (0, -179.9995)])

    assert course.length == pytest.approx(111.3, abs=0.1)
    _, lng = course.point_at(course.length * 0.75)
    assert lng == pytest.approx(-179.99975, abs=1e-7)
    assert course.passes(0.0001, 180, within=30) == [
        pytest.approx(course.length / 2, abs=0.1)
    ]


def test_encoded_line_has_precision_5() -> None:
    assert polyline.decode(Course(SQUARE).encoded, 5) == SQUARE


def test_passes_finds_each_pass() -> None:
    out_and_back = Course([(0, 0), (0, 0.01), (0, 0)])

    out, back = out_and_back.passes(0.0001, 0.0025, within=30)
    assert out == pytest.approx(out_and_back.length * 0.125, abs=0.5)
    assert back == pytest.approx(out_and_back.length * 0.875, abs=0.5)
    assert out_and_back.passes(0, 0.01, within=30) == [
        pytest.approx(out_and_back.length / 2, abs=0.5)
    ]
    assert out_and_back.passes(0.01, 0.005, within=30) == []


def test_a_gpx_track_is_preferred_to_a_route() -> None:
    route = '<rte><rtept lat="9" lon="9"/><rtept lat="9.1" lon="9"/></rte>'
    both = track(*SQUARE).replace("</gpx>", route + "</gpx>")

    assert Course.from_gpx(both).points[0][:2] == (0, 0)
    assert Course.from_gpx(gpx(route)).points[0][:2] == (9, 9)


def test_a_gpx_of_waypoints_only_is_joined() -> None:
    places = '<wpt lat="9" lon="9"/><wpt lat="9.1" lon="9"/>'

    assert [point[:2] for point in Course.from_gpx(gpx(places)).points] == [
        (9, 9),
        (9.1, 9),
    ]


def test_gpx_segments_are_joined() -> None:
    text = gpx(
        '<trk><trkseg/></trk><trk><trkseg><trkpt lat="1" lon="1"/></trkseg>'
        '<trkseg><trkpt lat="1" lon="1.001"/></trkseg></trk>'
    )

    assert len(Course.from_gpx(text).points) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_gpx_bytes_are_decoded_in_common_encodings(encoding: str) -> None:
    text = gpx('<wpt lat="1" lon="1"><name>Café</name></wpt>')

    assert waypoints_of_gpx(text.encode(encoding))[0].name == "Café"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "not a GPX file"),
        ("17;48.85;2.35", "not a GPX file"),
        ("<kml></kml>", "not a GPX file"),
        ("<!DOCTYPE html><html></html>", "not a GPX file"),
        (b"PK\x03\x04\x00\xff", "not a GPX file"),
        ("<gpx><trk>", "damaged"),
        ("<gpx>" + "<a>" * 200_000 + "</a>" * 200_000 + "</gpx>", "nested too deeply"),
        (gpx(f"<desc>{' xmlns' * 10_000}</desc>"), "namespaces"),
        (track(("north", 0), (1, 0)), "damaged"),
        (gpx(""), "no track and no route"),
        (gpx('<wpt lat="1" lon="1"/><trk><trkseg/></trk>'), "no track and no route"),
        (track((1, 1), (1, 1)), "at least two different points"),
        (track((91, 0), (1, 0)), "Point 1 of the course is not on earth"),
        (track((1, 0), (1, 180.5)), "Point 2 of the course is not on earth"),
        (track(("nan", 0), (1, 0)), "not on earth"),
        ("<gpx>" + " " * MAX_BYTES, "larger than 20 MB"),
        (
            '<!DOCTYPE gpx [<!ENTITY lol "lol">]>' + track(*SQUARE)[21:],
            "document type or entities",
        ),
        (
            ('<!doctype gpx SYSTEM "file:///etc/hostname">' + track(*SQUARE)).encode(
                "utf-16"
            ),
            "document type or entities",
        ),
    ],
)
def test_unusable_gpx_is_refused_with_a_reason(
    source: str | bytes, message: str
) -> None:
    with pytest.raises(CourseError, match=message) as refusal:
        Course.from_gpx(source)

    assert "\n" not in str(refusal.value)


def test_gpx_may_declare_a_namespace_for_each_point() -> None:
    extension = '<extensions><x:hr xmlns:x="http://example.org/x">1</x:hr></extensions>'
    point = f'<trkpt lat="{{}}" lon="1">{extension}</trkpt>'
    points = "".join(point.format(number / 1000) for number in range(1_000))

    course = Course.from_gpx(gpx(f"<trk><trkseg>{points}</trkseg></trk>"))

    assert len(course.points) == 1_000


def test_the_number_of_points_is_limited() -> None:
    zigzag = ((0.0, 0.001 * (n % 2)) for n in range(MAX_POINTS + 1))

    with pytest.raises(CourseError, match="more than 100,000 points"):
        Course(zigzag)


def test_a_course_without_points_is_refused() -> None:
    with pytest.raises(CourseError, match="no points"):
        Course([])


def test_the_demo_course_is_a_loop_of_3_km() -> None:
    course = Course.from_gpx(demo_gpx())

    assert course.points == demo_points()
    assert 2_800 < course.length < 3_400
    assert course.points[0] == course.points[-1]
    # The course passes each position once before the end.
    for distance in range(100, 3_000, 100):
        assert len(course.passes(*course.point_at(distance), within=20)) == 1
    assert [waypoint.name for waypoint in waypoints_of_gpx(demo_gpx())] == [
        "Cedars",
        "Pond",
    ]


@pytest.mark.parametrize(
    ("name", "length", "lowest", "highest"),
    [
        ("boston", 42_368, 3, 139),
        ("leadville", 158_529, 2_806, 3_820),
        ("five_laps", 10_004, 30, 46),
    ],
)
def test_a_realistic_course_has_a_point_every_18_m_with_its_height(
    name: courses.Name, length: float, lowest: float, highest: float
) -> None:
    course = courses.course(name)

    assert course.length == pytest.approx(length, abs=5)
    assert max(b - a for a, b in pairwise(course.distances)) < 20
    heights = [height for *_, height in course.points if height is not None]
    assert len(heights) == len(course.points)
    assert (min(heights), max(heights)) == (lowest, highest)


def test_an_out_and_back_passes_its_aid_stations_twice() -> None:
    twin_lakes, winfield = (39.08294, -106.38362), (38.98333, -106.44025)
    course = courses.course("leadville")

    out, back = course.passes(*twin_lakes, within=30)
    assert out == pytest.approx(60_472, abs=10)
    assert back == pytest.approx(98_217, abs=10)
    # The turn.
    (half,) = course.passes(*winfield, within=30)
    assert half == pytest.approx(course.length / 2, rel=0.01)


def test_five_laps_pass_a_position_five_times() -> None:
    course = courses.course("five_laps")

    found = course.passes(*course.point_at(500), within=20)
    assert found == pytest.approx(
        [500 + lap * course.length / 5 for lap in range(5)], abs=1
    )
