from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.management import CommandError, call_command

from runners.races.course import Course
from runners.races.demo import demo_gpx
from runners.races.progress import Guide
from tests.races.bob import GUN


@pytest.fixture
def park(tmp_path: Path) -> Path:
    path = tmp_path / "park.gpx"
    path.write_text(demo_gpx())
    return path


def run(park: Path, *, every: int = 5, pace: float = 3.0) -> list[dict[str, Any]]:
    """Return a runner's fixes from the start line to 30 m before the finish."""
    course = Course.from_gpx(park.read_text())
    fixes = []
    for second in range(0, int((course.length - 30) / pace), every):
        lat, lng = course.point_at(pace * second)
        fixes.append({"t": GUN + 1000 * second, "lat": lat, "lng": lng, "accuracy": 5})
    return fixes


def trace(park: Path, fixes: list[dict[str, Any]], *more: str) -> list[dict[str, Any]]:
    stream = park.with_name("fixes.jsonl")
    stream.write_text("".join(json.dumps(fix) + "\n" for fix in fixes))
    out = StringIO()
    call_command("trace", str(park), str(stream), *more, stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_each_fix_and_each_split_is_a_line(park: Path) -> None:
    fixes = run(park)
    lines = trace(park, fixes)

    traced = [line for line in lines if "t" in line]
    assert [line["t"] for line in traced] == [fix["t"] for fix in fixes]
    assert traced[-1].keys() == {"t", "progress", "uncertainty", "state"}
    assert traced[-1]["progress"] == pytest.approx(3 * (len(fixes) - 1) * 5, abs=5)
    assert 0 < traced[-1]["uncertainty"] < 15
    assert [traced[0]["state"], traced[-1]["state"]] == ["registered", "started"]
    splits = {line["split"]: line for line in lines if "split" in line}
    # The checkpoints that create_race makes for this course.
    assert {0, 1000, 2000, 3000} < splits.keys()
    assert (splits[2000]["at"] - GUN) / 1000 == pytest.approx(2000 / 3, abs=3)
    assert splits[2000]["uncertainty"] == pytest.approx(5, abs=0.5)


def test_late_fixes_add_their_splits(park: Path) -> None:
    fixes = run(park)
    late = fixes[80:160]
    lines = trace(park, fixes[:80] + fixes[160:] + late)

    assert sorted(line["t"] for line in lines if "t" in line) == [
        fix["t"] for fix in fixes
    ]
    (corrected,) = [line for line in lines if line.get("split") == 2000][-1:]
    assert corrected["uncertainty"] == pytest.approx(5, abs=0.5)


def test_a_recorded_gpx_is_traced(park: Path) -> None:
    points = "".join(
        f'<trkpt lat="{fix["lat"]}" lon="{fix["lng"]}"><time>'
        f"2026-05-31T09:{n // 12:02}:{n * 5 % 60:02}Z</time></trkpt>"
        for n, fix in enumerate(run(park))
    )
    points += '<trkpt lat="50" lon="8"></trkpt>'
    stream = park.with_name("run.gpx")
    stream.write_text(
        '<gpx version="1.1" creator="x" xmlns="http://www.topografix.com/GPX/1/1">'
        f"<trk><trkseg>{points}</trkseg></trk></gpx>"
    )
    out, err = StringIO(), StringIO()
    command = ("trace", str(park), str(stream))
    call_command(*command, start="2026-05-31T09:00Z", stdout=out, stderr=err)

    assert json.loads(out.getvalue().splitlines()[-1])["state"] == "started"
    assert err.getvalue().endswith("there is no time.\n")


def test_a_start_after_all_fixes_is_reported(park: Path) -> None:
    stream = park.with_name("fixes.jsonl")
    stream.write_text(json.dumps(run(park)[0]))
    out, err = StringIO(), StringIO()
    command = ("trace", str(park), str(stream))
    call_command(*command, start="2027-05-31T09:00Z", stdout=out, stderr=err)

    assert json.loads(out.getvalue())["state"] == "registered"
    assert err.getvalue() == f"{stream}: all fixes are before --start.\n"


def test_a_fix_that_arrives_again_is_followed_once(
    park: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixes = run(park)
    once = trace(park, fixes)
    followed = Mock(wraps=Guide.advance)
    monkeypatch.setattr(Guide, "advance", lambda *given: followed(*given))
    twice = trace(park, [fix for fix in fixes for _ in range(2)])

    assert followed.call_count == len(fixes)
    assert [line for n, line in enumerate(twice) if line not in twice[:n]] == once


def test_pairs_in_the_wrong_order_are_followed_from_shortly_before(
    park: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixes = run(park)
    followed = Mock(wraps=Guide.advance)
    monkeypatch.setattr(Guide, "advance", lambda *given: followed(*given))
    swapped = [fixes[n ^ 1] for n in range(len(fixes) // 2 * 2)]
    lines = trace(park, swapped)

    assert followed.call_count < 12 * len(fixes)
    ordered = trace(park, fixes)
    splits = {line["split"]: line for line in lines if "split" in line}
    assert list(splits.values()) == [line for line in ordered if "split" in line]


def test_invalid_lines_are_named_and_skipped(park: Path) -> None:
    stream = park.with_name("fixes.jsonl")
    fixes = [json.dumps({**fix, "t": float(fix["t"])}) for fix in run(park)]
    nowhere = json.dumps({"t": GUN, "lat": 0, "lng": 0})
    text = "\r\n".join(["\ufeff" + fixes[0], "{}", "[" * 9_999, nowhere, *fixes[1:]])
    stream.write_text(text)
    out, err = StringIO(), StringIO()
    call_command("trace", str(park), str(stream), stdout=out, stderr=err)

    named = [line.split(": ")[0] for line in err.getvalue().splitlines()]
    assert named == [f"{stream}, line {number}" for number in (2, 3, 4)]
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len([line for line in lines if "t" in line]) == len(fixes)


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf"])
def test_an_impossible_top_speed_is_refused(park: Path, speed: str) -> None:
    with pytest.raises(CommandError, match="at least 1"):
        trace(park, run(park), f"--top-speed={speed}")


def test_a_stream_without_times_is_refused(park: Path) -> None:
    with pytest.raises(CommandError, match="no valid fix has a time"):
        call_command("trace", str(park), str(park))
