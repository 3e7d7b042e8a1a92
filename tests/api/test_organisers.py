"""/api/v1/, the HTTP API for organisers' systems."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from runners.api import access
from runners.api.passings import MAX_PASSINGS
from runners.models import (
    ApiKey,
    Entry,
    Passing,
    Race,
    Runner,
    RunnerToken,
    Split,
)
from runners.models.race_role import Role
from runners.models.runner import token_digest
from runners.rights.token_lookup import find_token
from runners.timing import raceresult_exporter
from runners.timing.reads import Read, read_of
from runners.views import throttle
from tests.api.answers import operations
from tests.api.documents import Document
from tests.api.organisers import System, make_key
from tests.factories.people import make_office, make_runner, make_user
from tests.races.field import make_entry, make_race
from tests.servers import ROOT, Server

START = "2027-04-03T08:00:00Z"
RACE = {"name": "Spring run", "start": START}
POINTS = "".join(f'<trkpt lat="{48 + n / 1000}" lon="2"/>' for n in range(100))
GPX = f'<gpx version="1.1" creator="x"><trk><trkseg>{POINTS}</trkseg></trk></gpx>'
OTHER_GPX = GPX.replace('lon="2"', 'lon="3"')
SCRIPT = ROOT / "clients/http/registration.py"


@pytest.fixture(autouse=True)
def answer_wrong_keys_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle.failures, "first_wait_s", 0.0)


@pytest.fixture
def organiser(db: None) -> User:
    """Somebody of the race office who is not an administrator."""
    user = make_user("organiser")
    user.is_staff = True
    user.save()
    names = ["add_race", "change_race", "view_race", "add_runnertoken", "add_apikey"]
    names += ["change_apikey", "view_apikey"]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


@pytest.fixture
def system(organiser: User, organisers_api: Document) -> System:
    return System(organisers_api, make_key(organiser)[1])


@pytest.fixture
def race(system: System) -> str:
    """A race with a course; its path."""
    path = "/races/spring"
    system.send("PUT", path, RACE)
    system.send("PUT", f"{path}/course.gpx", GPX)
    return path


def rows(*bibs: str, **more: Any) -> dict[str, Any]:
    return {"entries": [{"bib": bib, "name": f"Runner {bib}"} | more for bib in bibs]}


def refused(
    system: System, method: str, path: str, body: Any = None, **options: Any
) -> tuple[str, list[str]]:
    """Return the code of a refusal, and the places of its errors."""
    problem = system.send(method, path, body, **options)
    assert problem["detail"]
    return problem["code"], [error["at"] for error in problem["errors"]]


# -- keys


def test_an_organiser_issues_a_key_which_is_shown_once_and_revokes_it(
    organiser: User, organisers_api: Document, caplog: pytest.LogCaptureFixture
) -> None:
    office = Client()
    office.force_login(organiser)
    caplog.set_level("INFO")
    form = {
        "name": "Timing",
        "scope": "organiser",
        "race": "",
        "can_write": "on",
        "expires_at_0": "2099-01-01",
        "expires_at_1": "12:00",
    }
    page = office.post("/admin/runners/apikey/add/", form).text
    plain = page.partition('id="token">')[2].partition("<")[0]
    key = ApiKey.objects.get()
    assert (key.digest, key.account) == (token_digest(plain), organiser)
    assert (
        f"127.0.0.1 issued the API key {key.pk} (organiser) of account" in caplog.text
    )
    assert plain not in office.get(f"/admin/runners/apikey/{key.pk}/change/").text

    system = System(organisers_api, plain)
    system.send("PUT", "/races/spring", RACE, status=201)
    act = {"action": "revoke", "_selected_action": key.pk}
    office.post("/admin/runners/apikey/", act)
    assert refused(system, "GET", "/races", status=401) == ("key.invalid", [])
    assert f"127.0.0.1 revoked the API key {key.pk} of account" in caplog.text
    assert plain not in caplog.text


def test_only_administrators_issue_keys_for_all_races_and_see_those_of_others(
    organiser: User,
) -> None:
    key, _ = make_key(make_office())
    office = Client()
    office.force_login(organiser)
    form = {"name": "All", "scope": "installation", "expires_at_0": "2099-01-01"}
    page = office.post("/admin/runners/apikey/add/", form | {"expires_at_1": "12:00"})
    assert "Select a valid choice" in page.text
    assert ApiKey.objects.get() == key
    assert "timing" not in office.get("/admin/runners/apikey/").text


def test_a_key_has_no_more_rights_than_its_account(
    organiser: User, organisers_api: Document
) -> None:
    key, plain = make_key(organiser, scope="installation")
    system = System(organisers_api, plain)
    system.send("PUT", "/races/spring", RACE)
    organiser.user_permissions.clear()
    organiser.race_roles.update(role=Role.READ)
    system.send("GET", "/races/spring")
    code, _ = refused(system, "PUT", "/races/spring", RACE, status=403)
    assert code == "permission.missing"
    organiser.race_roles.all().delete()
    assert refused(system, "GET", "/races/spring", status=404)[0] == "race.unknown"
    User.objects.filter(pk=organiser.pk).update(is_staff=False)
    assert refused(system, "GET", "/races", status=401)[0] == "key.invalid"


@pytest.mark.parametrize("end", ["expired", "unknown"])
def test_ended_and_unknown_keys_are_refused(
    end: str, organiser: User, organisers_api: Document
) -> None:
    _, plain = make_key(organiser, life=timedelta(seconds=-1))
    system = System(organisers_api, plain if end == "expired" else "x")
    response = system.respond("GET", "/races")
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")


def requests_of(document: Document) -> list[tuple[str, str, Any]]:
    """Return a request of each operation of one race."""
    bodies = {
        "write_race": RACE,
        "write_course": GPX,
        "write_waves": {"waves": []},
        "write_checkpoints": {"checkpoints": []},
        "write_entries": rows("1"),
        "write_entry": {"name": "Ann"},
        "mark_entry": {"status": "dnf"},
        "write_splits": {"splits": [{"bib": "1", "checkpoint": "x", "time": START}]},
        "write_passings": {"passings": [{"station": "x", "bib": "1", "time": START}]},
        "write_raceresult_passings": "a line",
    }
    found = []
    for method, path, pointer in operations(document):
        name = document.at(pointer)["operationId"]
        concrete = path.removeprefix("/api/v1").format(slug="ten", bib="1")
        if name != "list_races":
            found.append((method, concrete, bodies.get(name)))
    return found


def test_a_key_reaches_no_race_of_somebody_else_by_any_operation(
    organiser: User, organisers_api: Document
) -> None:
    theirs = make_race(owner=make_user("other"))
    make_entry(theirs, "bob", "1")
    own = make_race(slug="own", owner=organiser)
    for race in (None, own):
        system = System(organisers_api, make_key(organiser, race=race)[1])
        listed = system.send("GET", "/races")["items"]
        assert [each["slug"] for each in listed] == ["own"]
        for method, path, body in requests_of(organisers_api):
            code, _ = refused(system, method, path, body, status=(404, 409))
            assert code in ("race.unknown", "request.conflict"), (method, path)
    # A key for all races does.
    system = System(organisers_api, make_key(organiser, scope="installation")[1])
    assert len(system.send("GET", "/races")["items"]) == 2


def test_a_key_that_may_only_read_writes_nothing(
    organiser: User, organisers_api: Document
) -> None:
    make_entry(make_race(owner=organiser), "bob", "1")
    system = System(organisers_api, make_key(organiser, can_write=False)[1])
    for method, path, body in requests_of(organisers_api):
        if method == "GET":
            system.send("GET", path)
        else:
            assert refused(system, method, path, body, status=403)[0] == "key.read_only"


def test_requests_of_a_key_are_limited(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "REQUESTS_PER_MINUTE", 0)
    response = system.respond("GET", "/races")
    assert (response.status_code, response["Retry-After"]) == (429, "60")


# -- races


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


def test_a_list_that_is_too_large_is_refused_as_such(system: System, race: str) -> None:
    large = {"entries": [{"bib": "1", "name": "x" * 3_000_000}]}
    code, _ = refused(system, "POST", f"{race}/entries", large, status=413)
    assert code == "body.too_large"


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


# -- entries


def test_entries_get_tokens_once_and_new_ones_only_when_asked(
    system: System, race: str
) -> None:
    body = rows("1", "2", category="W40")
    first = system.send("POST", f"{race}/entries", body | {"tokens": "missing"})
    assert (first["new"], len(first["tokens"])) == (2, 2)
    plain = first["tokens"][0]["token"]
    identity = find_token(plain)
    assert identity is not None and identity.until == Race.objects.get().ends
    again = system.send("POST", f"{race}/entries", body | {"tokens": "missing"})
    assert again == {"new": 0, "changed": 0, "unchanged": 2, "tokens": []}
    assert find_token(plain) is not None

    new = system.send("POST", f"{race}/entries", rows("1") | {"tokens": "new"})
    assert [each["bib"] for each in new["tokens"]] == ["1"]
    assert find_token(plain) is None
    assert RunnerToken.objects.usable().count() == 2


def test_what_a_start_list_knows_is_set_for_one_entry_and_read_back(
    system: System, race: str
) -> None:
    path = f"{race}/entries/a%2F1"
    system.send("PUT", f"{race}/waves", {"waves": [{"name": "Elite", "start": START}]})
    body = {
        "name": "Ann",
        "code": "ann",
        "category": "W40",
        "club": "Mill",
        "wave": "Elite",
        "visibility": "private",
        "estimate": "no",
    }
    created = system.respond("PUT", path, body, If_None_Match="*")
    again = system.respond("PUT", path, body)
    assert (created.status_code, again.status_code) == (201, 200)
    read = system.respond("GET", path)
    assert created.content == again.content == read.content
    assert created["ETag"] == again["ETag"] == read["ETag"]
    shown = json.loads(read.content)
    assert shown["bib"] == "a/1"
    assert shown["shows_estimate"] is (body.pop("estimate") == "yes")
    assert {name: shown[name] for name in body} == body

    changed = system.send("PUT", path, {"club": "Harriers"}, If_Match=read["ETag"])
    assert (changed["name"], changed["club"], changed["wave"]) == (
        "Ann",
        "Harriers",
        "",
    )
    for stale in ({"If_Match": read["ETag"]}, {"If_None_Match": "*"}):
        refused(system, "PUT", path, body, status=412, **stale)
    # The runner is entered, with a different bib.
    other = f"{race}/entries/2"
    refused(system, "PUT", other, body, status=412, If_None_Match="*")
    refused(system, "GET", other, status=404)
    for bib, more, at in (("%20", {}, "bib"), ("2", {"wave": "Slow"}, "wave")):
        places = refused(
            system, "PUT", f"{race}/entries/{bib}", body | more, status=422
        )[1]
        assert places == [at]


def test_a_start_list_takes_no_runner_of_somebody_else(
    system: System, race: str, organiser: User, organisers_api: Document
) -> None:
    bob = make_entry(make_race(owner=make_user("other")), "bob", "7").runner
    theirs = rows("1", code="bob")
    places = refused(system, "POST", f"{race}/entries", theirs, status=422)[1]
    assert places == ["entries.0.code"]
    bob.refresh_from_db()
    assert bob.name != "Runner 1"
    # Somebody with an account decides themselves, and gets no token of ours.
    ann = make_runner("ann", account=make_user("ann"))
    body = rows("2", code="ann") | {"tokens": "missing"}
    assert system.send("POST", f"{race}/entries", body)["tokens"] == []
    assert not system.send("GET", f"{race}/entries/2")["accepted"]
    assert Runner.objects.get(pk=ann.pk).name == "Ann"
    all_races = System(organisers_api, make_key(organiser, scope="installation")[1])
    all_races.send("POST", f"{race}/entries", theirs)


def test_pages_have_every_entry_once(system: System, race: str) -> None:
    system.send("POST", f"{race}/entries", rows(*map(str, range(5))))
    found, cursor = [], 0
    while cursor is not None:
        page = system.send("GET", f"{race}/entries?limit=2&cursor={cursor}")
        found += [row["bib"] for row in page["items"]]
        cursor = page["next"]
    assert found == ["0", "1", "2", "3", "4"]


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


def test_the_description_is_served_without_a_key(organisers_api: Document) -> None:
    served = Client().get("/api/v1/openapi.json")
    assert served.json() == organisers_api.content


def test_the_example_of_a_registration_system_runs_twice_with_one_result(
    uvicorn_server: Server,
) -> None:
    account = uvicorn_server.database(make_office)
    key, plain = uvicorn_server.database(make_key, account)

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), uvicorn_server.url, plain, "20"]
        return subprocess.run(command, capture_output=True, text=True)

    first, second = run(), run()
    assert (first.stderr, second.stderr) == ("20 tokens\n", "0 tokens\n")
    assert first.stdout == second.stdout
    assert first.stdout.splitlines()[0] == "1 1 Runner 1 finished 2401.0"
    assert len(first.stdout.splitlines()) == 20
    uvicorn_server.database(key.revoke)
    third = run()
    assert third.returncode == 1 and "key.invalid" in third.stderr
    assert len(SCRIPT.read_text().splitlines()) <= 60
