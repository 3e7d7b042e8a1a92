"""Races with their courses and waves: conditions, faults, deletion."""

from __future__ import annotations

from django.contrib.auth.models import User

from runners.models import Entry, Race, Runner
from runners.models.race_role import Role
from tests.api.organisers.system import (
    GPX,
    OTHER_GPX,
    RACE,
    START,
    System,
    make_key,
    refused,
    rows,
)


def test_a_repeated_request_changes_nothing_and_conditions_are_checked(
    system: System, organiser: User
) -> None:
    created = system.respond("PUT", "/races/spring", RACE)
    again = system.respond("PUT", "/races/spring", RACE)
    assert (created.status_code, again.status_code) == (201, 200)
    assert created.content == again.content
    assert [*organiser.race_roles.values_list("race__slug", "role")] == [
        ("spring", "owner")
    ]
    etag = created["ETag"]
    assert system.respond("GET", "/races/spring")["ETag"] == etag
    fresh = system.respond("GET", "/races/spring", If_None_Match=etag)
    assert (fresh.status_code, fresh.content) == (304, b"")
    assert "Content-Type" not in fresh

    later = RACE | {"start": "2027-04-03T11:00:00+02:00"}
    changed = system.respond("PUT", "/races/spring", later, If_Match=etag)
    assert (changed.status_code, changed["ETag"] != etag) == (200, True)
    for stale in ({"If_Match": etag}, {"If_None_Match": "*"}):
        code, _ = refused(system, "PUT", "/races/spring", RACE, status=412, **stale)
        assert code == "request.precondition"
    assert system.send("GET", "/races/spring")["start"] == "2027-04-03T09:00:00Z"


def test_faults_are_named_by_their_place(system: System, race: str) -> None:
    for method, path, body, places in (
        ("PUT", "", {"name": "x", "starts": START}, ["start", "starts"]),
        ("PUT", "", RACE | {"timezone": "Paris"}, ["timezone"]),
        ("PUT", "", RACE | {"ends": "2027-04-03T08:00:00Z"}, ["ends"]),
        ("PUT", "", RACE | {"start": "0001-01-01T00:00:00+14:00"}, ["start"]),
        ("PUT", "", RACE | {"top_speed": float("inf")}, ["top_speed"]),
        ("PUT", "", RACE | {"name": "a\0b"}, ["name"]),
        ("PUT", "/course.gpx", "no file", ["body"]),
        ("PUT", "/course.gpx?length=42195", GPX, ["length"]),
        (
            "PUT",
            "/checkpoints",
            {"checkpoints": [{"name": "far", "distance": 20_000}]},
            ["checkpoints.0.distance"],
        ),
        ("POST", "/entries", rows("1", wave="A"), ["entries.0.wave"]),
        ("POST", "/entries", rows("1", "2", "1"), ["entries.2.bib"]),
        (
            "POST",
            "/splits",
            {"splits": [{"bib": "9", "checkpoint": "Start", "time": START}]},
            ["splits.0.bib"],
        ),
    ):
        code, found = refused(system, method, race + path, body, status=422)
        assert (code, found) == ("request.invalid", places)
    assert refused(system, "PUT", race, "{", status=400)[0] == "request.invalid"
    assert not Entry.objects.exists()


def test_a_course_goes_in_and_out(system: System, race: str) -> None:
    stored = system.send("PUT", f"{race}/course.gpx", GPX)
    assert (stored["checkpoints"], stored["length"]) == (4, stored["measured"])
    names = [{"name": "Start", "distance": 0, "kind": "start"}]
    names.append({"name": "Bridge", "distance": 4000.5, "kind": "split"})
    system.send("PUT", f"{race}/checkpoints", {"checkpoints": names})
    # Neither the same course again nor what the server returns resets them.
    for gpx in (GPX, system.send("GET", f"{race}/course.gpx")):
        system.send("PUT", f"{race}/course.gpx", gpx)
        assert system.send("GET", f"{race}/checkpoints") == {"checkpoints": names}
    system.send("PUT", f"{race}/course.gpx", OTHER_GPX)
    assert system.send("GET", f"{race}/checkpoints") != {"checkpoints": names}
    system.send("PUT", "/races/plain", RACE)
    code, _ = refused(system, "GET", "/races/plain/course.gpx", status=404)
    assert code == "race.no_course"


def test_a_wave_with_the_same_name_keeps_its_entries(system: System, race: str) -> None:
    waves = [{"name": "Fast", "start": START}, {"name": "Fun", "start": START}]
    system.send("PUT", f"{race}/waves", {"waves": waves})
    system.send("POST", f"{race}/entries", rows("1", wave="Fun"))
    waves[1]["start"] = "2027-04-03T08:10:00Z"
    assert system.send("PUT", f"{race}/waves", {"waves": waves[1:]}) == {
        "waves": waves[1:]
    }
    assert system.send("GET", f"{race}/entries/1")["wave"] == "Fun"


def test_entries_and_races_are_deleted_if_they_are_as_expected(
    system: System, organiser: User, race: str
) -> None:
    entry = f"{race}/entries/1"
    system.send("POST", f"{race}/entries", rows("1", "2"))
    organiser.user_permissions.clear()
    organiser.race_roles.update(role=Role.READ)
    for path in (entry, race):
        code, _ = refused(system, "DELETE", path, status=403)
        assert code == "permission.missing"
    organiser.race_roles.update(role=Role.OWNER)

    for path in (entry, race):
        read = system.respond("GET", path)
        code, _ = refused(system, "DELETE", path, If_Match='"x"', status=412)
        assert code == "request.precondition"
        only = make_key(organiser, race=Race.objects.get())[1]
        of_race = System(system.document, only)
        if path == race:
            refused(of_race, "DELETE", path, status=403)
        assert system.send("DELETE", path, If_Match=read["ETag"], status=204) == b""
        refused(system, "DELETE", path, status=404)
    assert not Race.objects.exists() and not Entry.objects.exists()
    assert Runner.objects.count() == 2
