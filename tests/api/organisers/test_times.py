"""Times by hand and of mats, statuses and results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from runners.api.passings import MAX_PASSINGS
from runners.models import Passing, Race, Split
from runners.timing import raceresult_exporter
from runners.timing.reads import Read, read_of
from tests.api.organisers.system import START, System, make_key, refused, rows


def test_passings_of_mats_are_splits_and_can_be_repeated(
    system: System, race: str
) -> None:
    system.send("POST", f"{race}/entries", rows("1"))
    Race.objects.update(start="2026-04-03T08:00:00Z", ends="2026-04-03T12:00:00Z")
    passings = [
        {"station": "Finish", "time": "2026-04-03T08:50:00.250Z", "bib": "1"},
        {"station": "Bridge", "time": "2026-04-03T08:20:00Z", "chip": "ZZ00000"},
    ]
    for stored in ({"new": 2, "unchanged": 0}, {"new": 0, "unchanged": 2}):
        assert system.send("POST", f"{race}/passings", {"passings": passings}) == stored
    assert [split.by_mat for split in Split.objects.all()] == [True]
    assert list(Passing.objects.order_by("pk").values_list("state", flat=True)) == [
        *("used", "chip")
    ]
    nobody = {"passings": [{"station": "Finish", "time": START}]}
    _, places = refused(system, "POST", f"{race}/passings", nobody, status=422)
    assert places == ["passings.0"]


def test_an_exporter_of_race_result_posts_with_the_key_in_the_query(
    system: System, race: str, organiser: User
) -> None:
    system.send("POST", f"{race}/entries", rows("1"))
    Race.objects.update(start="2026-04-03T08:00:00Z", ends="2026-04-03T12:00:00Z")
    _, key = make_key(organiser)
    url = f"/api/v1{race}/passings/raceresult"
    passing = {"Transponder": "ZZ1", "UTCTime": "2026-04-03T08:50:00.250Z"}
    body = json.dumps({"Bib": 1, "TimingPoint": "Finish", "Passing": passing})
    for new in (1, 0):
        done = Client().post(f"{url}?key={key}", f"{body}\r\n", "text/plain")
        assert done.json() == {"new": new, "unchanged": 1 - new}
    assert [split.by_mat for split in Split.objects.all()] == [True]
    for query in ("", "?key=x"):
        assert Client().post(f"{url}{query}", body, "text/plain").status_code == 401
    # Elsewhere a key in the query is none.
    assert Client().get(f"/api/v1{race}?key={key}").status_code == 401


def test_records_beyond_the_limit_of_an_exporter_are_not_parsed(
    race: str, organiser: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []

    def read(line: str, *about: Any) -> Read:
        lines.append(line)
        return read_of("Finish", line)

    monkeypatch.setattr(raceresult_exporter, "read_of_line", read)
    url = f"/api/v1{race}/passings/raceresult?key={make_key(organiser)[1]}"
    for body in (json.dumps([1] * 5_000), "1\n" * 5_000):
        lines.clear()
        done = Client().post(url, body, "text/plain")
        assert (done.status_code, done.json()["code"]) == (413, "body.too_large")
        assert len(lines) == MAX_PASSINGS + 1
    assert not Passing.objects.exists()


def test_status_splits_and_results(system: System, race: str) -> None:
    system.send("POST", f"{race}/entries", rows("1", "2", "a/b"))
    times = {
        "splits": [
            {"bib": bib, "checkpoint": "Finish", "time": f"2027-04-03T09:00:{s}Z"}
            for bib, s in (("1", "30"), ("2", "10"))
        ]
    }
    stored = system.send("POST", f"{race}/splits", times)
    assert stored == {"new": 2, "changed": 0, "unchanged": 0}
    stored = system.send("POST", f"{race}/splits", times)
    assert stored == {"new": 0, "changed": 0, "unchanged": 2}
    assert all(Split.objects.values_list("by_hand", flat=True))

    etag = system.respond("GET", f"{race}/entries/a%2Fb")["ETag"]
    out = system.send(
        "PATCH", f"{race}/entries/a%2Fb", {"status": "dnf"}, If_Match=etag
    )
    assert (out["status"], out["out_at"] is not None) == ("dnf", True)
    again = system.send("PATCH", f"{race}/entries/a%2Fb", {"status": "dnf"})
    assert again == out
    # A time taken after a disqualification does not end it.
    system.send("PATCH", f"{race}/entries/a%2Fb", {"status": "dsq"})
    late = {"bib": "a/b", "checkpoint": "Finish", "time": "2027-04-03T09:00:00Z"}
    system.send("POST", f"{race}/splits", {"splits": [late]})
    code, _ = refused(system, "GET", f"{race}/entries/none", status=404)
    assert code == "entry.unknown"

    page = system.send("GET", f"{race}/results?limit=2")
    assert [(row["rank"], row["bib"], row["time"]) for row in page["items"]] == [
        (1, "2", 3610.0),
        (2, "1", 3630.0),
    ]
    split = page["items"][0]["splits"][0]
    assert (split["checkpoint"], split["by_hand"]) == ("Finish", True)
    rest = system.send("GET", f"{race}/results?by=chip&cursor={page['next']}")
    assert [(row["bib"], row["status"]) for row in rest["items"]] == [("a/b", "dsq")]
    assert rest["next"] is None
