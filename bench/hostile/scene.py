"""The database that is attacked: runners, links, phones and long tracks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.hashers import make_password
from django.utils import timezone

from tests.factories.people import make_link, make_phones, make_runner, make_user
from tests.races.field import make_entry, make_race

from runners.models import Position, Race, ShareLink  # isort: skip

PIN, PASSWORD = "473829", "correct horse battery"  # noqa: S105
LINKS = 20


@dataclass(frozen=True)
class Scale:
    connections: int = 200
    seconds: float = 75.0
    calm_s: float = 10.0  # before the attack
    phones: int = 20  # each sends one fix per second
    spectators: int = 20
    tracks: int = 2  # exported by attackers
    track_points: int = 20_000


SHORT = Scale(30, 3.0, 1.0, 4, 4, 2, 500)


@dataclass
class Scene:
    """Tokens of phones by code, secrets of links, and codes with long tracks."""

    tokens: dict[str, str]
    links: list[str]
    tracks: list[str]
    # The publishing token of an attacker.
    insider: str


def make_scene(scale: Scale) -> Scene:
    race = make_race(visibility=Race.Visibility.LINK)
    make_entry(race, "bob", "1", pace=0.3)
    make_user("victim", PASSWORD)
    links = [make_link(race=race)[1] for _ in range(LINKS)]
    # Hashed once, as 20 hashes take seconds.
    ShareLink.objects.update(pin=make_password(PIN))
    return Scene(
        tokens=make_phones(scale.phones),
        links=links,
        tracks=[
            _make_track(f"far{n}", scale.track_points) for n in range(scale.tracks)
        ],
        insider=make_phones(1, "insider")["insider0"],
    )


def _make_track(code: str, points: int) -> str:
    """Make a public runner with one position every three seconds until now."""
    runner, now = make_runner(code), timezone.now()
    Position.objects.bulk_create(
        Position(
            runner=runner,
            recorded_at=now - timedelta(seconds=3 * n),
            stored_at=now,
            lat=48 + n * 1e-5,
            lng=2.0,
            altitude=100.0,
            source="x",
        )
        for n in range(1, points + 1)
    )
    return code
