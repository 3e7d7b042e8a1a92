"""Who may do what for a race: each role at each door, compared with the table of roles.

Each door is tried in a transaction that is rolled back. What it needs is an `Action`;
who has it, the table in `rights/roles.py` says, and so do the documents.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.template.response import TemplateResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from django.utils import timezone

from runners.models import (
    ApiKey,
    Chip,
    Entry,
    LatestPosition,
    Passing,
    Phone,
    Position,
    Race,
    RunnerToken,
    ShareLink,
    Sos,
    Split,
    Station,
)
from runners.models.race_role import Role
from runners.rights.access import Viewer, followable
from runners.rights.results import shown_in_standings
from runners.rights.roles import (
    ROLES,
    Action,
    actions_of,
    may,
    races_of,
    role_set,
    seen_in_races,
)
from tests.api.organisers import make_key
from tests.factories.people import make_link, make_office, make_user
from tests.races.field import make_entry, make_race
from tests.servers import ROOT

pytestmark = pytest.mark.django_db

# They have no role in the race: staff without any, the owner of a different race, and
# an owner who is not staff any more.
STRANGERS = ("staff", "other", "dismissed")
# Latitude of the call for help.
CALLED_AT = 48.0123
START = "2027-04-03T08:00:00Z"


@dataclass
class Door:
    """A request, and what its response has or what is stored if it was permitted."""

    name: str
    needs: Action
    path: str
    body: Any = None
    shows: str | None = None
    method: str = ""
    stores: QuerySet[Any] | None = None


@dataclass
class Scene:
    """A race with Bob, who is private, and one row of everything."""

    race: Race
    entry: Entry
    rows: dict[str, int]

    def doors(self) -> Iterator[Door]:
        yield from self._pages()
        yield from self._lists()
        yield from self._rows()
        yield from self._api()

    def _pages(self) -> Iterator[Door]:
        """Return the pages of the race, and what the desk does."""
        race = f"/admin/runners/race/{self.race.pk}/"
        entry = {"entry": self.entry.pk, "status": "dnf"}
        call = {"sos": self.rows["sos"], "act": "close"}
        yield from (
            Door("race", Action.VIEW, f"{race}change/"),
            Door("change race", Action.EDIT, f"{race}change/", {}),
            Door(
                "delete race", Action.DELETE, f"{race}delete/", shows="perms_lacking=[]"
            ),
            Door("course", Action.VIEW, f"{race}course.json"),
            Door("checkpoints", Action.EDIT, f"{race}checkpoints/", {}),
            Door("start list", Action.ENTER, f"{race}start-list/"),
            Door("people", Action.PEOPLE, f"{race}people/"),
            Door("export", Action.VIEW, f"{race}start-list.csv", shows="Bob"),
            Door("timing import", Action.TIMES, f"{race}timing/"),
            Door("codes", Action.ISSUE, f"{race}phones/"),
            Door("links by mail", Action.ISSUE, f"{race}setup-links/"),
            Door("links by mail, CSV", Action.ISSUE, f"{race}setup-links.csv"),
            Door("desk", Action.VIEW, f"{race}desk/"),
            Door("desk data", Action.VIEW, f"{race}desk.json", shows='"Bob"'),
            Door("map", Action.POSITIONS, f"{race}desk.json", shows='"place"'),
            Door("place", Action.HELP, f"{race}desk.json", shows=str(CALLED_AT)),
            Door("file", Action.ENTER, f"{race}entries/{self.entry.pk}/file/"),
            Door("accounted for", Action.VIEW, f"{race}accounted/"),
            Door("accounted for, CSV", Action.VIEW, f"{race}accounted.csv"),
            Door("mark", Action.STATUS, f"{race}desk/mark/", entry),
            Door("close a call", Action.HELP, f"{race}desk/sos/", call),
            Door("swap", Action.SWAP, f"{race}desk/swap/"),
        )

    def _lists(self) -> Iterator[Door]:
        """Return the lists, which show a row only to those who may see it."""
        for model, needs in (
            ("race", Action.VIEW),
            ("entry", Action.VIEW),
            ("split", Action.TIMES),
            ("passing", Action.TIMES),
            ("station", Action.TIMES),
            ("chip", Action.TIMES),
            ("runner", Action.ENTER),
            ("runnertoken", Action.SWAP),
            ("position", Action.POSITIONS),
            ("latestposition", Action.POSITIONS),
            ("sharelink", Action.EDIT),
        ):
            shows = f"[{model} {self.rows[model]}]"
            yield Door(
                f"list of {model}s", needs, f"/admin/runners/{model}/", None, shows
            )
        for model in ("race", "entry", "runner"):
            needs = Action.ENTER if model == "runner" else Action.VIEW
            query = f"app_label=runners&model_name=entry&field_name={model}"
            if model == "entry":
                query = query.replace("=entry&", "=chip&")
            names = {"race": "Ten", "entry": "B17 Bob", "runner": "Bob"}
            path = f"/admin/autocomplete/?{query}&term="
            yield Door(f"choice of {model}", needs, path, shows=names[model])

    def _rows(self) -> Iterator[Door]:
        """Return the forms of rows, and actions on them."""
        race = self.race.pk
        chosen = {"_selected_action": self.entry.pk}
        entry = {"bib": "99", "race": race, "runner": self.rows["cat"]}
        entry |= {"status": "registered"}
        chip = {"race": race, "code": "c9", "entry": self.entry.pk}
        key = {"name": "x", "scope": "race", "race": race}
        key |= {"expires_at_0": "2099-01-01", "expires_at_1": "12:00"}
        link = {"label": "x", "race": race, "secret": ""}
        link |= {"expires_at_0": "2099-01-01", "expires_at_1": "12:00"}
        token = {"action": "revoke", "_selected_action": self.rows["token"]}
        admin = "/admin/runners"
        for model, view, change in (
            ("entry", Action.VIEW, Action.ENTER),
            ("split", Action.TIMES, Action.TIMES),
            ("chip", Action.TIMES, Action.TIMES),
            ("station", Action.TIMES, Action.TIMES),
            ("runnertoken", Action.SWAP, Action.SWAP),
            ("sharelink", Action.EDIT, Action.EDIT),
            ("runner", Action.ENTER, Action.ENTER),
        ):
            page = f"{admin}/{model}/{self.rows[model]}"
            yield Door(f"view {model}", view, f"{page}/change/")
            yield Door(f"change {model}", change, f"{page}/change/", {})
            # Nobody deletes passings, which a station has.
            if model not in ("runner", "station"):
                yield Door(f"delete {model}", change, f"{page}/delete/", {"post": "y"})
        runner = f"{admin}/runner/{self.rows['runner']}"
        yield from (
            Door(
                *("add entry", Action.ENTER, f"{admin}/entry/add/", entry),
                stores=Entry.objects.filter(bib="99"),
            ),
            Door(
                *("add chip", Action.TIMES, f"{admin}/chip/add/", chip),
                stores=Chip.objects.filter(code="C9"),
            ),
            Door(
                *("add link", Action.EDIT, f"{admin}/sharelink/add/", link),
                stores=ShareLink.objects.filter(label="x"),
            ),
            Door(
                *("add key", Action.SYSTEMS, f"{admin}/apikey/add/", key),
                stores=ApiKey.objects.filter(name="x"),
            ),
            Door(
                *("mark in the list", Action.STATUS, f"{admin}/entry/"),
                chosen | {"action": "mark_dnf"},
                stores=Entry.objects.filter(status="dnf"),
            ),
            Door(
                *("revoke", Action.SWAP, f"{admin}/runnertoken/", token),
                stores=RunnerToken.objects.exclude(revoked_at=None),
            ),
            Door("issue a token", Action.ISSUE, f"{runner}/issue-token/"),
            Door("phones of a runner", Action.ISSUE, "/runners/bob/phones/"),
        )

    def _api(self) -> Iterator[Door]:
        race = "/api/v1/races/ten"
        split = {"bib": "B17", "checkpoint": "5 km", "time": START}
        rows = {"entries": [{"bib": "5", "name": "Eve"}]}
        passing = {"station": "MAT17", "chip": "CHIP17", "time": START}
        for name, needs, path, body, method in (
            ("list", Action.VIEW, "/api/v1/races", None, ""),
            ("race", Action.VIEW, race, None, ""),
            ("write race", Action.EDIT, race, {"name": "x", "start": START}, "PUT"),
            ("course", Action.VIEW, f"{race}/course.gpx", None, ""),
            ("waves", Action.VIEW, f"{race}/waves", None, ""),
            ("write waves", Action.EDIT, f"{race}/waves", {"waves": []}, "PUT"),
            ("checkpoints", Action.VIEW, f"{race}/checkpoints", None, ""),
            (
                *("write checkpoints", Action.EDIT, f"{race}/checkpoints"),
                *({"checkpoints": []}, "PUT"),
            ),
            ("entries", Action.VIEW, f"{race}/entries", None, ""),
            ("write entries", Action.ENTER, f"{race}/entries", rows, ""),
            (
                *("tokens", Action.ISSUE, f"{race}/entries"),
                *(rows | {"tokens": "missing"}, ""),
            ),
            ("entry", Action.VIEW, f"{race}/entries/B17", None, ""),
            ("write entry", Action.ENTER, f"{race}/entries/5", {"name": "x"}, "PUT"),
            ("mark", Action.STATUS, f"{race}/entries/B17", {"status": "dnf"}, "PATCH"),
            ("splits", Action.TIMES, f"{race}/splits", {"splits": [split]}, ""),
            ("passings", Action.TIMES, f"{race}/passings", {"passings": [passing]}, ""),
            ("results", Action.VIEW, f"{race}/results", None, ""),
            ("delete entry", Action.ENTER, f"{race}/entries/B17", None, "DELETE"),
            ("delete race", Action.DELETE, race, None, "DELETE"),
        ):
            shows = '"ten"' if name == "list" else None
            yield Door(f"API: {name}", needs, path, body, shows, method)


@pytest.fixture
def scene() -> Scene:
    race = make_race()
    entry = make_entry(race, "bob", "B17", pace=0.3, visibility="private")
    bob = entry.runner
    now = timezone.now()
    make_entry(make_race(slug="night", name="Night"), "ann", "1")
    cat = make_entry(make_race(slug="trail", name="Trail"), "cat", "1").runner
    Position.objects.filter(runner=bob).delete()
    position = Position.objects.create(
        runner=bob, recorded_at=now, stored_at=now, lat=47.9876, lng=2, source="x"
    )
    stop = race.checkpoints.get(name="2.5 km")
    station = Station.objects.create(race=race, name="MAT17")
    passing = Passing.objects.create(
        race=race, station=station, chip="CHIP17", time=now
    )
    rows: dict[str, Any] = {
        "race": race,
        "position": position,
        "latestposition": bob.latest,
        "passing": passing,
        "split": Split.objects.get_or_create(
            entry=entry, checkpoint=stop, defaults={"time": now}
        )[0],
        "chip": Chip.objects.create(race=race, code="CHIP17", entry=entry),
        "station": station,
        "runnertoken": RunnerToken.objects.issue(bob, name="phone17")[0],
        "sharelink": make_link(race=race, label="link17")[0],
        "sos": Sos.objects.create(
            runner=bob, key="k", called_at=now, lat=CALLED_AT, lng=2, placed_at=now
        ),
        "entry": entry,
        "runner": bob,
        "cat": cat,
    }
    pks = {name: row.pk for name, row in rows.items()}
    return Scene(race, entry, pks | {"token": pks["runnertoken"]})


def make_viewer(name: str, race: Race) -> User:
    """Make an account that is called like its role, or a stranger."""
    if name == "super":
        return make_office()
    user = make_user(name)
    if name in Role.values:
        for each in (race, Race.objects.get(slug="trail")):
            role_set(race=each, user=user, role=Role(name))
    elif name == "other":
        role_set(race=Race.objects.get(slug="night"), user=user, role=Role.OWNER)
    elif name == "dismissed":
        role_set(race=race, user=user, role=Role.OWNER)
        user.is_staff = False
        user.save()
    else:
        user.is_staff = True
        user.save()
    return user


class Visitor:
    """An account at the doors, in the process and without drawing pages: it is fast."""

    def __init__(self, user: User) -> None:
        scope = "installation" if user.is_superuser else "organiser"
        self._user, self._key = user, make_key(user, scope=scope)[1]

    def passes(self, door: Door) -> bool:
        """Return whether a door is open; undo what the request did."""
        with transaction.atomic():
            try:
                response = self._send(door)
            except (PermissionDenied, Http404):
                return False
            stored = door.stores is None or door.stores.all().exists()
            transaction.set_rollback(True)
        if response.status_code == 302:
            # To the index, where the admin says that there is no such row; to sign in.
            to = response["Location"]
            return stored and to != "/admin/" and "login" not in to
        if response.status_code not in (200, 201, 204, 400):
            assert response.status_code in (401, 403, 404), door
            return False
        return stored and (door.shows is None or door.shows in content_of(response))

    def _send(self, door: Door) -> HttpResponse:
        factory, body = RequestFactory(), door.body
        if door.path.startswith("/api/"):
            text = "" if body is None else json.dumps(body)
            method = door.method or ("GET" if body is None else "POST")
            request = factory.generic(
                *(method, door.path, text, "application/json"),
                headers={"authorization": f"Bearer {self._key}"},
            )
        elif body is None:
            request = factory.get(door.path)
        else:
            request = factory.post(door.path, body)
        request.user, request.session = self._user, SessionStore()
        request._messages = CookieStorage(request)  # type: ignore[attr-defined]
        request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
        view = resolve(door.path.partition("?")[0])
        return view.func(request, *view.args, **view.kwargs)  # type: ignore[no-any-return]


def content_of(response: HttpResponse) -> str:
    """Return the body, of a page of the admin its rows and missing permissions."""
    if not isinstance(response, TemplateResponse):
        return response.text
    context: dict[str, Any] = response.context_data or {}
    rows = getattr(context.get("cl"), "result_list", ())
    lacking = f"perms_lacking={[*context.get('perms_lacking', ())]}"
    return " ".join([*(f"[{row._meta.model_name} {row.pk}]" for row in rows), lacking])


@pytest.mark.parametrize("name", [*Role.values, *STRANGERS, "super"])
def test_each_door_is_open_to_the_roles_of_its_action(name: str, scene: Scene) -> None:
    user = make_viewer(name, scene.race)
    visitor = Visitor(user)
    allowed = {a for a in Action if name in ROLES[a] or name == "super"}
    assert actions_of(user, scene.race) == allowed
    assert {a for a in Action if may(user, scene.race, a)} == allowed
    wrong = [
        f"{door.name} ({'open' if is_open else 'closed'})"
        for door in scene.doors()
        if (is_open := visitor.passes(door)) != (door.needs in allowed)
    ]
    assert wrong == []
    # On a websocket everybody is a spectator.
    viewer = Viewer(user=user.pk)
    assert followable(viewer, ["bob"], create=False)[1] == {"bob": "runner.unknown"}
    official = scene.rows["runner"] in shown_in_standings(scene.race, user.pk)
    assert official == (Action.VIEW in allowed)


def test_the_documents_have_the_table_of_roles() -> None:
    text = (ROOT / "docs/organising.md").read_text()
    heading = "| | " + " | ".join(role.label.lower() for role in Role) + " |"
    rows = text.partition(heading)[2].partition("\n\n")[0].splitlines()[2:]
    assert rows == [
        f"| {action.label} | "
        + " | ".join("yes" if role in roles else "" for role in Role)
        + " |"
        for action, roles in ROLES.items()
    ]


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
    client = Client()
    client.force_login(owner)
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


def test_a_start_list_takes_no_runner_of_somebody_else(scene: Scene) -> None:
    owner = make_viewer("owner", scene.race)
    client = Client()
    client.force_login(owner)
    file = SimpleUploadedFile("list.csv", b"bib,name,code\n9,Mine now,ann\n")
    page = f"/admin/runners/race/{scene.race.pk}/start-list/"
    response: Any = client.post(page, {"file": file})
    assert "rows" not in response.context_data
    (error,) = response.context_data["form"].errors["file"]
    assert "Runners outside of your races have these codes" in error
    assert "ann" in error


def test_forms_offer_nothing_of_other_races(scene: Scene) -> None:
    client = Client()
    client.force_login(make_viewer("owner", scene.race))
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
    client = Client()
    client.force_login(owner)
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

    # Who has a phone by the first list gets no second one by the same name.
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
    client = Client()
    client.force_login(make_viewer("owner", scene.race))
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
    client = Client()
    client.force_login(owner)
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


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("staff", set()),
        ("read", {"Race", "Entry"}),
        ("medic", {"Race", "Entry", "Position", "LatestPosition"}),
    ],
)
def test_the_index_lists_what_a_role_opens(
    name: str, listed: set[str], scene: Scene
) -> None:
    request = RequestFactory().get("/admin/")
    request.user = make_viewer(name, scene.race)
    with CaptureQueriesContext(connection) as captured:
        apps = site.get_app_list(request)
    # Each table asks for several actions.
    assert sum('FROM "runners_racerole"' in q["sql"] for q in captured) <= 1
    assert {each["object_name"] for app in apps for each in app["models"]} == listed
