"""A database with data for every kind of page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.template.loader import render_to_string
from django.utils import timezone

from runners.models import (
    Alert,
    Entry,
    Invitation,
    Phone,
    Race,
    Runner,
    RunnerToken,
    Sos,
    Subscription,
    Wave,
    Zone,
)
from runners.models.race_role import Role
from runners.notifying import mail
from tests.factories.people import make_follow, make_link, make_session, make_user
from tests.races.field import make_entry, make_race

# Mum's account.
PASSWORD = "a long walk by the river"


@dataclass
class Site:
    """Primary keys, paths of links, session cookies by user, and error pages."""

    race: int
    runner: int
    token: int
    stop: str
    confirm: str
    link: str
    pin: str
    ended: str
    invitation: str
    sessions: dict[str, str]
    errors: dict[str, str]


def make_site() -> Site:
    """Make a current, a future and a past race, and Vera with data of every kind."""
    now = timezone.now()
    race = make_race(name="Riverside Ten", slug="ten", timezone="Pacific/Chatham")
    make_race(name="Night Mile", slug="night", start=now + timedelta(days=3))
    past = make_race(name="Harbour Ten", slug="past", start=now - timedelta(days=2))
    make_entry(past, "fay", "2", pace=0.3)
    vera = _make_entries(race).runner
    office = User.objects.create(username="office", is_staff=True, is_superuser=True)
    mum, veras = make_user("mum", PASSWORD), make_user("vera")
    vera.name, vera.account = "Vera Hill", veras
    vera.save()
    make_follow(mum, vera)
    for name, status in (("joe", "pending"), ("max", "blocked")):
        make_follow(make_user(name), vera, status)
    token = _make_belongings(vera, office, now)
    address = _make_alerts(mum, vera, now)
    ended, ended_plain = make_link(vera)
    ended.revoke()
    _, invitation = Invitation.objects.issue(
        race=race, email="anna@example.org", role=Role.MEDIC, invited_by=office
    )
    words = mail.confirmation_mail(address).body.split()
    confirm = next(word for word in words if "/confirm/" in word)
    return Site(
        race=race.pk,
        runner=vera.pk,
        token=token.pk,
        stop=mail.stop_url(address.email).removeprefix(settings.PUBLIC_URL),
        confirm=confirm.removeprefix(settings.PUBLIC_URL),
        link=f"/s/{make_link(vera)[1]}/",
        pin=f"/s/{make_link(vera, pin='1234')[1]}/",
        ended=f"/s/{ended_plain}/",
        invitation=f"/invitations/{invitation}/",
        sessions={user.username: make_session(user) for user in (office, mum, veras)},
        errors={
            name: render_to_string(f"{name}.html")
            for name in ("400", "403", "429", "500")
        },
    )


def _make_entries(race: Race) -> Entry:
    """Enter runners in every state; return Vera's entry."""
    red = Wave.objects.create(race=race, name="Red", start=race.start)
    make_entry(race, "ann", "1", pace=0.2, category="W", wave=red)
    make_entry(race, "cleo", "3", pace=0.3, category="W")
    make_entry(race, "dan", "4", pace=0.4, status="dnf", category="M")
    make_entry(race, "eli", "5", category="M")
    return make_entry(race, "vera", "7", pace=0.31, visibility="public", wave=red)


def _make_belongings(runner: Runner, office: User, now: datetime) -> RunnerToken:
    """Give a runner a phone, a zone and two calls for help; return their token."""
    token, _ = RunnerToken.objects.issue(runner, name="OwnTracks")
    Phone.objects.create(token=token, app="OwnTracks", contact_at=now, fix_at=now)
    Zone.objects.create(runner=runner, name="Home", lat=53.1, lng=-6.2, radius=300)
    for key, seen_by in (("one", None), ("two", office)):
        Sos.objects.create(
            runner=runner,
            key=key,
            called_at=now,
            lat=48.1,
            lng=2,
            accuracy=9,
            placed_at=now,
            battery=40,
            seen_at=now if seen_by else None,
            seen_by=seen_by,
        )
    return token


def _make_alerts(user: User, runner: Runner, now: datetime) -> Subscription:
    """Subscribe a user to a runner in their browser; return their mail address."""
    browser = Subscription.objects.create(
        user=user,
        endpoint="https://push.example/1",
        digest="1",
        device="Firefox, Android",
        confirmed_at=now,
    )
    Alert.objects.create(
        subscription=browser, runner=runner, start=True, checkpoint=True, finish=True
    )
    return Subscription.objects.create(user=user, email="mum@example.org", digest="2")
