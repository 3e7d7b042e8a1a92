"""What a role does not see: other times, and runners and races of others."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from runners.models import Entry, LatestPosition, Phone, Position, Race, RunnerToken
from runners.models.race_role import Role
from runners.rights.roles import races_of, seen_in_races
from tests.admin.role_scene import Scene, make_viewer
from tests.api.organisers.system import make_key
from tests.factories.people import make_user, signed_in
from tests.races.field import make_entry

pytestmark = pytest.mark.django_db


def test_positions_of_other_times_and_of_runners_who_did_not_accept_stay_hidden(
    scene: Scene,
) -> None:
    owner = make_viewer("owner", scene.race)
    bob, race = scene.entry.runner, scene.race
    seen = seen_in_races(Position.objects.filter(runner=bob), races_of(owner))
    assert seen.count() == 1
    Race.objects.filter(pk=race.pk).update(ends=race.start + timedelta(minutes=1))
    assert not seen.all().exists()
    Race.objects.filter(pk=race.pk).update(ends=race.ends)
    bob.account = make_user("bob")
    bob.save()
    Entry.objects.filter(pk=scene.entry.pk).update(accepted=False)
    assert not seen.all().exists()
    client = signed_in(owner)
    desk = client.get(f"/admin/runners/race/{race.pk}/desk.json").json()
    assert [(row["fix"], row["phones"]) for row in desk["entries"]] == [(None, 0)]
    assert desk["sos"] == [] and "place" not in desk["entries"][0]


def test_signals_of_other_times_stay_hidden(scene: Scene) -> None:
    """The desk of last year's race does not tell when a phone was last on."""
    token = RunnerToken.objects.get(pk=scene.rows["token"])
    now = timezone.now()
    Phone.objects.create(token=token, app="Overland", contact_at=now)
    LatestPosition.objects.filter(runner=scene.entry.runner).update(
        progress=1200.5, contact_at=now
    )
    reader, owner = (make_viewer(name, scene.race) for name in ("read", "owner"))
    page = f"/admin/runners/race/{scene.race.pk}/desk.json"
    client = Client()

    def signals(user: User) -> dict[str, Any]:
        client.force_login(user)
        (row,) = client.get(page).json()["entries"]
        return {key: row.get(key) for key in ("contact", "heard", "progress", "app")}

    assert all(signals(reader).values())
    # In a different race at the same time.
    latest = LatestPosition.objects.filter(runner=scene.entry.runner)
    state = latest.get().race_state
    latest.update(race_state={"entry": 0, "state": {}})
    assert signals(reader)["progress"] is None
    latest.update(race_state=state)
    Race.objects.filter(pk=scene.race.pk).update(ends=now - timedelta(minutes=1))
    assert all(signals(make_viewer("super", scene.race)).values())
    assert not any(signals(reader).values())
    for path, user in (("entry", reader), ("runner", owner)):
        client.force_login(user)
        text = client.get(f"/admin/runners/{path}/").text
        assert "Bob" in text and "Last contact" not in text and "liveness" not in text
    # Nor of phones in no race.
    Entry.objects.filter(pk=scene.entry.pk).update(race=Race.objects.get(slug="trail"))
    Race.objects.filter(slug="trail").update(ends=now)
    client.force_login(owner)
    assert client.get(page).json()["unassigned"] == []


def test_who_has_tested_a_phone_is_shown_to_those_who_issue_tokens(
    scene: Scene,
) -> None:
    """Before the race too, of runners whom they manage, and no more than that."""
    race, bob = scene.race, scene.entry.runner
    page = f"/admin/runners/race/{race.pk}/desk.json"
    users = {role.value: make_viewer(role.value, race) for role in Role}
    client = Client()

    def tested(name: str) -> bool | None:
        client.force_login(users[name])
        (row,) = client.get(page).json()["entries"]
        assert not (row["fix"] or row["heard"] or row["app"])
        test: bool | None = row.get("tested")
        return test

    LatestPosition.objects.all().delete()
    then = race.opens - timedelta(days=3)
    token = RunnerToken.objects.get(pk=scene.rows["token"])
    phone = Phone.objects.create(token=token, app="Overland", contact_at=then)
    assert tested("office") is False
    phone.fix_at = then
    phone.save()
    shown = {name: tested(name) for name in users}
    assert {role for role, test in shown.items() if test} == {"owner", "office"}
    assert {test for test in shown.values() if not test} == {None}
    # With an account they set their phones up themselves; in a race of somebody else,
    # the test may have been for that one.
    other = Entry.objects.create(
        race=Race.objects.get(slug="night"), runner=bob, bib="17 too"
    )
    assert tested("office") is None
    other.delete()
    bob.account = make_user("bob")
    bob.save()
    assert tested("office") is None


def test_a_start_list_takes_no_runner_of_somebody_else(scene: Scene) -> None:
    owner = make_viewer("owner", scene.race)
    client = signed_in(owner)
    file = SimpleUploadedFile("list.csv", b"bib,name,code\n9,Mine now,ann\n")
    page = f"/admin/runners/race/{scene.race.pk}/start-list/"
    response: Any = client.post(page, {"file": file})
    assert "rows" not in response.context_data
    (error,) = response.context_data["form"].errors["file"]
    assert "Runners outside of your races have these codes" in error
    assert "ann" in error


def test_forms_offer_nothing_of_other_races(scene: Scene) -> None:
    client = signed_in(make_viewer("owner", scene.race))
    night = Race.objects.get(slug="night")
    night.waves.create(name="N", start=night.start)
    for model, field, path in (
        ("chip", "race", "pk"),
        ("chip", "entry", "race"),
        ("station", "checkpoints", "race"),
        ("entry", "wave", "race"),
        ("entry", "runner", "entries__race"),
    ):
        page: Any = client.get(f"/admin/runners/{model}/add/")
        offered = page.context_data["adminform"].form.fields[field].queryset
        assert offered.exists() or field == "wave"
        assert not offered.filter(**{path: night.pk}).exists(), (model, field)
    of_night = night.entries.get().pk
    add = "/admin/runners/chip/add/"
    assert "Ann" not in client.get(add, {"entry": of_night}).text
    for race in ("", night.pk):
        stop = night.checkpoints.first()
        fields = {"race": race, "name": "M", "checkpoints": stop and stop.pk}
        refused: Any = client.post("/admin/runners/station/add/", fields)
        errors = refused.context_data["adminform"].form.errors
        assert {"race", "checkpoints"} <= errors.keys()


def test_runners_who_are_also_in_races_of_others_are_not_managed(scene: Scene) -> None:
    owner, race = make_viewer("owner", scene.race), scene.race
    bob, night = scene.entry.runner, Race.objects.get(slug="night")
    client = signed_in(owner)
    key = make_key(owner, scope="organiser")[1]
    list_page = f"/admin/runners/race/{race.pk}/start-list/"
    file_page = f"/admin/runners/race/{race.pk}/entries/{scene.entry.pk}/file/"

    def tokens_of(name: str) -> list[Any]:
        """Import Bob with a name and visibility; return the tokens by both ways."""
        row = {"bib": "B17", "name": name, "visibility": "public"}
        text = "bib,name,visibility\n" + ",".join(row.values())
        file = SimpleUploadedFile("list.csv", text.encode())
        shown: Any = client.post(list_page, {"file": file})
        RunnerToken.objects.all().delete()
        rows = {"rows": shown.context_data["rows"], "tokens": "y"}
        table = client.post(list_page, rows).text.splitlines()
        body = {"entries": [row], "tokens": "new"}
        answer = client.post(
            f"/api/v1/races/{race.slug}/entries",
            *(json.dumps(body), "application/json"),
            headers={"authorization": f"Bearer {key}"},
        )
        bob.refresh_from_db()
        return [*table[1:], *answer.json()["tokens"]]

    # A runner with a phone from the first list gets no second one of the same name.
    assert len(tokens_of("Robert")) == 2
    assert (bob.name, bob.visibility) == ("Robert", "public")
    assert client.get(file_page).status_code == 200
    type(bob).objects.filter(pk=bob.pk).update(visibility="private")
    Entry.objects.create(race=night, runner=bob, bib="2")
    assert tokens_of("Mine") == []
    assert (bob.name, bob.visibility) == ("Robert", "private")
    assert client.get(file_page).status_code == 404


def test_phones_are_swapped_in_the_time_and_between_runners_of_the_race(
    scene: Scene,
) -> None:
    client = signed_in(make_viewer("owner", scene.race))
    page = f"/admin/runners/race/{scene.race.pk}/desk/swap/"
    make_entry(scene.race, "dan", "2", pace=0.3)
    # Cat is in a different race of the same owner.
    refused = client.get(page, {"first": "cat", "second": "B17"}).text
    assert "neither a bib of this race" in refused
    fields = {"first": "2", "second": "B17"}
    assert "Swap their phones" in client.get(page, fields).text
    Race.objects.filter(pk=scene.race.pk).update(ends=timezone.now())
    assert "until the race ends" in client.post(page, fields).text
    assert RunnerToken.objects.get(pk=scene.rows["token"]).runner == scene.entry.runner


def test_a_call_for_help_is_shown_where_the_runner_is_now(scene: Scene) -> None:
    """A runner of two clubs calls during the race of one."""
    owner = make_viewer("owner", scene.race)
    client = signed_in(owner)
    page = f"/admin/runners/race/{scene.race.pk}/desk.json"
    assert len(client.get(page).json()["sos"]) == 1
    night = Race.objects.get(slug="night")
    Entry.objects.create(race=night, runner=scene.entry.runner, bib="2")
    assert len(client.get(page).json()["sos"]) == 1
    over = timezone.now() - timedelta(minutes=1)
    Race.objects.filter(pk=scene.race.pk).update(ends=over)
    assert client.get(page).json()["sos"] == []
    Race.objects.filter(pk=night.pk).update(ends=over)
    assert len(client.get(page).json()["sos"]) == 1
