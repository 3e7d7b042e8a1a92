"""Entries, one and many: tokens, runners of others, pages."""

from __future__ import annotations

import json

from django.contrib.auth.models import User

from runners.models import Race, Runner, RunnerToken
from runners.rights.token_lookup import find_token
from tests.api.documents import Document
from tests.api.organisers.system import START, System, make_key, refused, rows
from tests.factories.people import make_runner, make_user
from tests.races.field import make_entry, make_race


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


def test_a_list_that_is_too_large_is_refused_as_such(system: System, race: str) -> None:
    large = {"entries": [{"bib": "1", "name": "x" * 3_000_000}]}
    code, _ = refused(system, "POST", f"{race}/entries", large, status=413)
    assert code == "body.too_large"


def test_pages_have_every_entry_once(system: System, race: str) -> None:
    system.send("POST", f"{race}/entries", rows(*map(str, range(5))))
    found, cursor = [], 0
    while cursor is not None:
        page = system.send("GET", f"{race}/entries?limit=2&cursor={cursor}")
        found += [row["bib"] for row in page["items"]]
        cursor = page["next"]
    assert found == ["0", "1", "2", "3", "4"]
