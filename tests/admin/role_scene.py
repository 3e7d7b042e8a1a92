"""A race, whoever has a role in it, and the doors to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils import timezone

from runners.models import (
    ApiKey,
    Chip,
    Entry,
    Passing,
    Position,
    Race,
    RunnerToken,
    ShareLink,
    Sos,
    Split,
    Station,
)
from runners.models.race_role import Role
from runners.rights.roles import Action, role_set
from tests.factories.people import make_link, make_office, make_user
from tests.factories.positions import make_position
from tests.races.field import make_entry, make_race

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
    """A race that has a row of each model, and a private runner, Bob."""

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


def make_scene() -> Scene:
    race = make_race()
    entry = make_entry(race, "bob", "B17", pace=0.3, visibility="private")
    bob = entry.runner
    now = timezone.now()
    make_entry(make_race(slug="night", name="Night"), "ann", "1")
    cat = make_entry(make_race(slug="trail", name="Trail"), "cat", "1").runner
    Position.objects.filter(runner=bob).delete()
    position = make_position(bob, now, lat=47.9876, lng=2)
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
