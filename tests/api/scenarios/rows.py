"""The rows of the scenarios: runners, users, races and links, each by a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from runners.models import (
    Checkpoint,
    Entry,
    LatestPosition,
    Pause,
    Position,
    Race,
    Runner,
    RunnerToken,
    ShareLink,
    Split,
    Zone,
)
from tests.factories.people import (
    HOUR,
    Keys,
    make_follow,
    make_link,
    make_runner,
    make_session,
    make_user,
)
from tests.races.field import make_entry, make_race, pass_mats

# Public runners with a phone and nothing else.
CODES = (
    *("7", "8", "bob", "cheered", "full", "gone", "moved", "other", "many"),
    *("deleted", "expiring", "hiding", "leaving", "blocking", "lost", "phony"),
    *("calling", "sick"),
)


@dataclass
class Rows(Keys):
    """Rows by name, and secrets."""

    runners: dict[str, Runner] = field(default_factory=dict)
    phones: dict[str, RunnerToken] = field(default_factory=dict)
    races: dict[str, Race] = field(default_factory=dict)
    shares: dict[str, ShareLink] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)

    def add_runner(self, code: str, **fields: Any) -> Runner:
        runner = self.runners[code] = make_runner(code, **fields)
        self.phones[code], self.tokens[code] = RunnerToken.objects.issue(
            runner, name="x"
        )
        return runner

    def add_race(self, slug: str, **fields: Any) -> Race:
        race = self.races[slug] = make_race(slug=slug, name=slug.title(), **fields)
        return race

    def add_link(self, name: str, *runners: Runner, **fields: Any) -> ShareLink:
        link, self.links[name] = make_link(*runners, label=name, **fields)
        self.shares[name] = link
        return link

    def add_user(self, name: str) -> User:
        user = self.users[name] = make_user(name)
        self.cookies[name] = make_session(user)
        return user


def make_rows() -> Rows:
    rows = Rows()
    _add_runners(rows)
    _add_races(rows)
    _add_standings(rows)
    _add_links(rows)
    make_follow(rows.add_user("alice"), rows.runners["finn"], "pending")
    rows.add_user("charlie")
    seven = rows.runners["7"]
    seven.account = rows.add_user("seven")
    seven.save()
    return rows


def _add_runners(rows: Rows) -> None:
    for code in CODES:
        rows.add_runner(code)
    rows.add_runner("off", cheers=False)
    rows.add_runner("finn", visibility="followers")
    for code in ("linked", "linked-too"):
        rows.add_runner(code, visibility="private")
    eve, now = rows.add_runner("eve"), timezone.now()
    Zone.objects.create(runner=eve, name="Home", lat=50, lng=3, radius=300)
    Pause.objects.create(runner=eve, started_at=now - 3 * HOUR, ended_at=now - 2 * HOUR)
    eve.erased_at = now - 24 * HOUR
    eve.save()


def _add_races(rows: Rows) -> None:
    city = rows.add_race(
        "city",
        start=timezone.now() - timedelta(minutes=5),
        length=400,
        line=[[48 + m / 111_195, 2.0] for m in range(0, 401, 20)],
        top_speed=60,
    )
    city.checkpoints.exclude(name__in=["Start", "Finish"]).delete()
    city.checkpoints.filter(name="Finish").update(distance=400)
    Checkpoint.objects.create(race=city, name="200 m", distance=200)
    Entry.objects.create(race=city, runner=rows.runners["bob"], bib="1")
    Entry.objects.create(race=city, runner=rows.runners["lost"], bib="9")
    rows.runners["dora"] = make_entry(city, "dora", "2").runner
    for slug in ("plain", "going", "hushed"):
        rows.add_race(slug, line=[], length=0)
    for code, bib in (("many", "1"), ("linked", "2")):
        Entry.objects.create(
            race=rows.races["plain"], runner=rows.runners[code], bib=bib
        )
    for slug in ("secret", "secret-too"):
        rows.add_race(slug, visibility="link")


def _add_standings(rows: Rows) -> None:
    """Make a race in which runners lack an arrival time for every reason."""
    now = timezone.now()
    ten = rows.add_race("ten", start=now - 2 * HOUR)
    elite = ten.waves.create(name="Elite", start=now - 2 * HOUR)
    make_entry(
        ten, "first", "1", pace=0.5, late=9, category="W40", club="Mill", wave=elite
    )
    for n, code in enumerate(("second", "silent", "astray")):
        make_entry(ten, code, f"2{n}", pace=0.85, category="M")
    make_entry(ten, "slow", "3", pace=5)
    make_entry(ten, "waiting", "4")
    make_entry(ten, "phoneless", "7")
    pass_mats(ten, "7", ("Start", 60), ("5 km", 100))
    make_entry(ten, "hidden", "5", visibility="private")
    for n, status in enumerate(("finished", "dnf", "dns", "dsq")):
        make_entry(ten, status, f"6{n}", status=status)
    lately = Position.objects.filter(recorded_at__gt=now - timedelta(minutes=15))
    lately.filter(runner__code__in=["silent", "astray"]).delete()
    # Otherwise a mat would have seen the silent one.
    Split.objects.filter(
        entry__runner__code="silent", time__gt=now - timedelta(minutes=17)
    ).delete()
    silent = LatestPosition.objects.filter(runner__code="silent")
    silent.update(recorded_at=now - timedelta(minutes=14))
    Split.objects.filter(
        entry__runner__code="second", checkpoint__distance=5_000
    ).update(by_hand=True)


def _add_links(rows: Rows) -> None:
    linked = rows.runners["linked"]
    rows.add_link("one", linked)
    rows.add_link("two", rows.runners["linked-too"])
    rows.add_link("locked", linked, pin="1234")
    rows.add_link("guessed", linked, pin="473829")
    rows.add_link("expired", linked, life=-HOUR)
    rows.add_link("revoked", linked).revoke()
    for slug in ("secret", "secret-too", "plain"):
        rows.add_link(slug, race=rows.races[slug])
