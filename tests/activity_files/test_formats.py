"""What is read of FIT, TCX and GPX files, and what is refused."""

from __future__ import annotations

import random

import pytest

from runners.activity_files.formats import FileError, read_file
from tests.activity_files.files import FORMATS, At, fit, gpx, tcx

POINTS = [At(1_780_000_000 + n, 48 + n / 10_000, 2.0) for n in range(40)]
LAUGHS = (
    b'<!DOCTYPE gpx [<!ENTITY a "ha">]><gpx><trkpt lat="1" lon="2">&a;</trkpt></gpx>'
)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_the_same_positions(name: str) -> None:
    fixes = read_file(FORMATS[name](POINTS))
    assert [fix.t for fix in fixes] == [1000 * point.t for point in POINTS]
    assert [round(fix.lat, 6) for fix in fixes] == [p.lat for p in POINTS]
    assert fixes[0].lng == pytest.approx(2.0)
    assert {fix.altitude for fix in fixes} == {100.0}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a FIT, TCX or GPX file"),
        (b"bib,name\n1,Bob\n", "not a FIT, TCX or GPX file"),
        (b"<html><body/></html>", "not a FIT, TCX or GPX file"),
        (LAUGHS, "entities"),
        (gpx(POINTS)[:-60], "damaged"),
        (gpx([]), "no positions"),
        (fit([]), "no positions"),
        (tcx([]), "no positions"),
        (gpx(POINTS, timed=False), "no times"),
        (b"<gpx>" + b"<a>" * 50_000, "nested"),
        (b"x" * 8_000_000, "larger than 7 MB"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_a_reason(
    content: bytes, words: str
) -> None:
    with pytest.raises(FileError, match=words):
        read_file(content)


def test_a_watch_whose_battery_died_has_not_ended_its_file() -> None:
    assert len(read_file(fit(POINTS)[:-20])) == len(POINTS) - 2


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_read_or_refused(name: str) -> None:
    whole = FORMATS[name](POINTS[:8])
    chance = random.Random(name)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            read_file(bytes(damaged))
        except FileError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("name", "limit"),
    [("gpx", "MAX_RECORDS"), ("fit", "MAX_FRAMES"), ("tcx", "MAX_EVENTS")],
)
def test_what_is_read_of_a_file_is_limited(
    monkeypatch: pytest.MonkeyPatch, name: str, limit: str
) -> None:
    monkeypatch.setattr(f"runners.activity_files.formats.{limit}", 39)
    with pytest.raises(FileError, match="too many"):
        read_file(FORMATS[name](POINTS))
