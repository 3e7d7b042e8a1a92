"""Who plays in the scenes: runners, users, races and links, each by a name."""

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
from tests.races.field import make_entry, make_race

# Public, with a phone and nothing else.
CODES = (
    *("7", "8", "bob", "cheered", "full", "gone", "moved", "other", "many"),
    *("deleted", "expiring", "hiding", "leaving", "blocking", "lost", "phony"),
    *("calling", "sick"),
)


@dataclass
class Cast(Keys):
    """Rows by name, and what opens doors."""

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


def make_cast() -> Cast:
    cast = Cast()
    _add_runners(cast)
    _add_races(cast)
    _add_standings(cast)
    _add_links(cast)
    make_follow(cast.add_user("alice"), cast.runners["finn"], "pending")
    cast.add_user("charlie")
    seven = cast.runners["7"]
    seven.account = cast.add_user("seven")
    seven.save()
    return cast


def _add_runners(cast: Cast) -> None:
    for code in CODES:
        cast.add_runner(code)
    cast.add_runner("off", cheers=False)
    cast.add_runner("finn", visibility="followers")
    for code in ("linked", "linked-too"):
        cast.add_runner(code, visibility="private")
    eve, now = cast.add_runner("eve"), timezone.now()
    Zone.objects.create(runner=eve, name="Home", lat=50, lng=3, radius=300)
    Pause.objects.create(runner=eve, started_at=now - 3 * HOUR, ended_at=now - 2 * HOUR)
    eve.erased_at = now - 24 * HOUR
    eve.save()


def _add_races(cast: Cast) -> None:
    city = cast.add_race(
        "city",
        start=timezone.now() - timedelta(minutes=5),
        length=400,
        line=[[48 + m / 111_195, 2.0] for m in range(0, 401, 20)],
        top_speed=60,
    )
    city.checkpoints.exclude(name__in=["Start", "Finish"]).delete()
    city.checkpoints.filter(name="Finish").update(distance=400)
    Checkpoint.objects.create(race=city, name="200 m", distance=200)
    Entry.objects.create(race=city, runner=cast.runners["bob"], bib="1")
    Entry.objects.create(race=city, runner=cast.runners["lost"], bib="9")
    cast.runners["dora"] = make_entry(city, "dora", "2").runner
    for slug in ("plain", "going", "hushed"):
        cast.add_race(slug, line=[], length=0)
    for code, bib in (("many", "1"), ("linked", "2")):
        Entry.objects.create(
            race=cast.races["plain"], runner=cast.runners[code], bib=bib
        )
    for slug in ("secret", "secret-too"):
        cast.add_race(slug, visibility="link")


def _add_standings(cast: Cast) -> None:
    """Make a race in which some have every reason for no time of arrival."""
    now = timezone.now()
    ten = cast.add_race("ten", start=now - 2 * HOUR)
    elite = ten.waves.create(name="Elite", start=now - 2 * HOUR)
    make_entry(ten, "first", "1", pace=0.5, late=9, category="W40", wave=elite)
    for n, code in enumerate(("second", "silent", "astray")):
        make_entry(ten, code, f"2{n}", pace=0.85, category="M")
    make_entry(ten, "slow", "3", pace=5)
    make_entry(ten, "waiting", "4")
    make_entry(ten, "hidden", "5", visibility="private")
    for n, status in enumerate(("finished", "dnf", "dns")):
        make_entry(ten, status, f"6{n}", status=status)
    lately = Position.objects.filter(recorded_at__gt=now - timedelta(minutes=15))
    lately.filter(runner__code__in=["silent", "astray"]).delete()
    LatestPosition.objects.filter(runner__code="silent").delete()
    Split.objects.filter(
        entry__runner__code="second", checkpoint__distance=5_000
    ).update(by_hand=True)


def _add_links(cast: Cast) -> None:
    linked = cast.runners["linked"]
    cast.add_link("one", linked)
    cast.add_link("two", cast.runners["linked-too"])
    cast.add_link("locked", linked, pin="1234")
    cast.add_link("expired", linked, life=-HOUR)
    cast.add_link("revoked", linked).revoke()
    for slug in ("secret", "secret-too"):
        cast.add_link(slug, race=cast.races[slug])
