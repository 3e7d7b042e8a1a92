"""Keys of organisers' systems: issuing, scopes, rights, rates."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from runners.api import access
from runners.models import ApiKey
from runners.models.race_role import Role
from runners.models.runner import token_digest
from tests.api.answers import operations
from tests.api.documents import Document
from tests.api.organisers.system import (
    GPX,
    RACE,
    START,
    System,
    make_key,
    refused,
    rows,
)
from tests.factories.people import make_office, make_user, signed_in
from tests.races.field import make_entry, make_race


def test_an_organiser_issues_a_key_which_is_shown_once_and_revokes_it(
    organiser: User, organisers_api: Document, caplog: pytest.LogCaptureFixture
) -> None:
    office = signed_in(organiser)
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
    office = signed_in(organiser)
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
