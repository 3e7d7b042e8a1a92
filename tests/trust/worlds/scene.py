"""The rows of a world: a race whose hidden runners are at one of two places."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.models import User
from django.utils import timezone

from runners.models import (
    Entry,
    Follow,
    Invitation,
    LatestPosition,
    Pause,
    Race,
    Runner,
    Subscription,
    Wave,
)
from runners.models.news import KINDS
from runners.models.race_role import Role
from runners.notifying.mail import stop_url
from runners.notifying.sos import contact_add
from runners.notifying.subscribing import alerts_set
from runners.preferences.runner_settings import stop_link_issue, zone_add
from runners.rights.roles import role_set
from tests.factories.people import (
    HOUR,
    Keys,
    make_follow,
    make_link,
    make_runner,
    make_session,
    make_token,
    make_user,
)
from tests.notifying.push import Browser
from tests.races.field import LENGTH_M, METRES_PER_DEGREE, make_entry, make_race

World = Literal[0, 1]
Place = tuple[float, float]

# Seconds per metre of the runners whom everybody sees. `bob` finishes in the end, and
# `dora` has started last, in a wave of her own.
VISIBLE = {"ann": 0.28, "bob": 0.2397, "dora": 0.3}
DORAS_GUN_S = 2_040
# Hidden for the whole race. They lead it in one world, and are last in the other one.
NEVER_SHOWN = ("private", "followers", "unaccepted")
HIDDEN_PACES = (0.23, 0.5)
# Visible until this time after the start, then at hidden places.
SHOWN_BEFORE = ("zoned", "paused", "ended")
HIDDEN_FROM_S = 2_100
# Visible, except for an implausible fix, and for what they have erased.
SHOWN_ELSE = ("held", "erased")
SHOWN_PACE = 0.3
PUBLISHING = (*VISIBLE, *NEVER_SHOWN, *SHOWN_BEFORE, *SHOWN_ELSE)
# They have sent nothing for a while. `mute` is private.
SILENT = ("cleo", "mute")
CODES = (*PUBLISHING, *SILENT)
HIDDEN = (*NEVER_SHOWN, *SHOWN_BEFORE, *SHOWN_ELSE, "mute")

# Who may see no hidden place. `ann` runs too, and has asked to follow all others; `max`
# is blocked by them; `marshal` has the role that only reads the race.
WITHOUT_RIGHT = ("stranger", "ann", "max", "marshal")
# `fan` is an accepted follower, `private` is that runner, `office` has all permissions.
WITH_RIGHT = ("fan", "private", "office")
VIEWERS = (*WITHOUT_RIGHT, *WITH_RIGHT)
STAFF = ("marshal", "office")


@dataclass
class Scene(Keys):
    """A world with its secrets, and its browsers by viewer."""

    world: World = 0
    start: datetime = field(default_factory=timezone.now)
    runners: dict[str, Runner] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    browsers: dict[str, Browser] = field(default_factory=dict)

    def place(self, code: str, seconds: float) -> Place:
        """Return where a runner is, in seconds since the start."""
        if code == "dora":
            seconds = max(0, seconds - DORAS_GUN_S)
        if code in VISIBLE:
            return along(seconds / VISIBLE[code])
        if code in NEVER_SHOWN:
            return along(seconds / HIDDEN_PACES[self.world])
        if code in SHOWN_BEFORE and seconds >= HIDDEN_FROM_S:
            return self.hidden_place(code)
        return along(seconds / SHOWN_PACE)

    def hidden_place(self, code: str) -> Place:
        lat, lng = home()
        if code == "held":
            lng += 0.5
        return lat + (0.0004, -0.0007)[self.world], lng + (0.0002, 0.0005)[self.world]


def along(metres: float) -> Place:
    """Return a point of the course."""
    return 48 + min(metres, LENGTH_M) / METRES_PER_DEGREE, 2.0


def home() -> Place:
    """Return the centre of the zone, beside the course."""
    lat, lng = along(HIDDEN_FROM_S / SHOWN_PACE)
    return lat, lng + 0.001


def make_scene(world: World) -> Scene:
    """Make the race and all its runners, viewers, links and alerts."""
    race = make_race(slug="ten", name="Ten", timezone="Europe/Paris")
    gun = race.start + timedelta(seconds=DORAS_GUN_S)
    waves = {
        name: Wave.objects.create(race=race, name=name, start=start)
        for name, start in (("Red", race.start), ("Dora", gun))
    }
    scene = Scene(world=world, start=race.start)
    for name in VIEWERS[1:]:
        staff = name in STAFF
        scene.users[name] = User.objects.create_user(
            name, f"{name}@account.example", is_staff=staff
        )
    User.objects.filter(username="office").update(is_superuser=True)
    role_set(race=race, user=scene.users["marshal"], role=Role.READ)
    for number, code in enumerate(PUBLISHING, 1):
        wave = waves["Dora" if code == "dora" else "Red"]
        _enter(scene, race, wave, code, str(number))
    _hide(scene)
    _silence(scene, race)
    _follow(scene)
    _link(scene, race)
    for name, user in scene.users.items():
        scene.cookies[name] = make_session(user)
    return scene


def _enter(scene: Scene, race: Race, wave: Wave, code: str, bib: str) -> None:
    visibility = {
        "bob": "race",
        "private": "private",
        "followers": "followers",
        "unaccepted": "race",
    }.get(code, "public")
    user = scene.users.get(code) or make_user(code)
    runner = make_runner(code, visibility=visibility, account=user)
    Entry.objects.create(
        race=race,
        runner=runner,
        bib=bib,
        wave=wave,
        category="W" if int(bib) % 2 else "M",
        accepted=code != "unaccepted",
    )
    scene.runners[code] = runner
    scene.tokens[code] = make_token(runner)


def _hide(scene: Scene) -> None:
    """Set the zone, the pause, the end of sharing, and addresses that differ."""
    hidden_from = scene.start + timedelta(seconds=HIDDEN_FROM_S)
    lat, lng = home()
    zone_add(runner=scene.runners["zoned"], name="Home", lat=lat, lng=lng, radius=500.0)
    Pause.objects.create(runner=scene.runners["paused"], started_at=hidden_from)
    ended = scene.runners["ended"]
    ended.sharing_ends_at = hidden_from
    ended.save()
    for code in ("bob", "private"):
        contact = contact_add(
            runner=scene.runners[code],
            email=f"mum-{scene.world}@{code}.example",
            user=None,
            language="en",
        )
        contact.confirmed_at = timezone.now()
        contact.save()


def _silence(scene: Scene, race: Race) -> None:
    """Make runners whose last signal is old, at a hidden time for `mute`."""
    minutes = {"cleo": 12, "mute": (13, 17)[scene.world]}
    for code, ago in minutes.items():
        visibility = "private" if code == "mute" else "public"
        entry = make_entry(race, code, code, pace=0.4, visibility=visibility)
        at = timezone.now() - timedelta(minutes=ago)
        LatestPosition.objects.filter(runner=entry.runner).update(contact_at=at)
        scene.runners[code] = entry.runner


def _follow(scene: Scene) -> None:
    """Make followers, and alerts of everybody for everything."""
    for code, runner in scene.runners.items():
        if code != "ann":
            make_follow(scene.users["ann"], runner, Follow.Status.PENDING)
            make_follow(scene.users["max"], runner, Follow.Status.BLOCKED)
        make_follow(scene.users["fan"], runner, shown_from=scene.start - HOUR)
    for number, name in enumerate((*VIEWERS[:3], "fan"), 1):
        browser = Browser(f"https://push.example/{name}")
        browser.key = ec.derive_private_key(number, ec.SECP256R1())
        scene.browsers[name] = browser
        user = scene.users.get(name)
        pushed = browser.subscribe(user)
        places = [pushed]
        if user is not None:
            places.append(
                Subscription.objects.create(
                    user=user,
                    email=f"{name}@news.example",
                    digest=name,
                    confirmed_at=timezone.now(),
                )
            )
            scene.links[f"stop {name}"] = stop_url(places[1].email)
        for place in places:
            alerts_set(
                subscription=place,
                runners=list(scene.runners.values()),
                kinds=list(KINDS),
            )


def _link(scene: Scene, race: Race) -> None:
    """Make links that show only what everybody sees, and one to the private runner."""
    ann, private = scene.runners["ann"], scene.runners["private"]
    links = {
        "race": make_link(race=race),
        "ann": make_link(ann),
        "PIN": make_link(private, pin="473829"),
        "ended": make_link(private, life=-HOUR),
    }
    scene.links |= {name: plain for name, (_, plain) in links.items()}
    scene.links["invitation"] = Invitation.objects.issue(
        race=race,
        email="new@club.example",
        role=Role.TIMING,
        invited_by=scene.users["office"],
    )[1]
    scene.links["stop sharing"] = stop_link_issue(runner=private)
