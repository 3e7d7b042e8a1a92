from __future__ import annotations

import pytest
from django.test import Client

from runners.models import (
    Entry,
    LatestPosition,
    Pause,
    Race,
    RightsChange,
    Runner,
    Zone,
)
from tests.factories.positions import make_latest

pytestmark = pytest.mark.django_db


def test_a_zone_deletes_stored_positions(office: Client, bob: Runner) -> None:
    make_latest(bob, seconds_ago=5)
    data = {"runner": bob.pk, "name": "Home", "radius": "300"}
    centre = {"lat": "53.3566", "lng": "-6.3285"}
    office.post("/admin/runners/zone/add/", data | centre)
    zone = Zone.objects.get()
    assert 0 < zone.shift < Zone.FARTHEST_SHIFT
    assert not LatestPosition.objects.exists()
    assert RightsChange.objects.filter(key=bob.pk, erased=True).exists()

    make_latest(bob, seconds_ago=5, lat=53.4)
    url = f"/admin/runners/zone/{zone.pk}/change/"
    office.post(url, data | centre | {"lat": "53.4"})
    assert not LatestPosition.objects.exists()
    # The new circle is not the old one moved along.
    assert Zone.objects.get().bearing != zone.bearing


def test_the_list_does_not_show_the_positions_of_zones(
    office: Client, bob: Runner
) -> None:
    Zone.objects.create(runner=bob, lat=53.12345, lng=-6.54321)
    assert "53.12345" not in office.get("/admin/runners/zone/").text


def test_a_pause_ends_the_estimate_between_mats(
    office: Client, park: Race, bob: Runner
) -> None:
    entry = Entry.objects.create(race=park, runner=bob, estimate={"t": 1})
    data = {"runner": bob.pk, "started_at_0": "2026-01-01", "started_at_1": "10:00:00"}
    office.post("/admin/runners/pause/add/", data)
    assert Pause.objects.exists()
    entry.refresh_from_db()
    assert entry.estimate is None


def test_a_pause_is_ended_in_the_office(office: Client, bob: Runner) -> None:
    data = {"runner": bob.pk, "started_at_0": "2026-01-01", "started_at_1": "10:00:00"}
    office.post("/admin/runners/pause/add/", data)
    pause = Pause.objects.get()
    again = office.post("/admin/runners/pause/add/", data)
    assert "a_runner_is_paused_once" in again.text or "errornote" in again.text
    ends = {"ended_at_0": "2026-01-01", "ended_at_1": "11:00:00"}
    office.post(f"/admin/runners/pause/{pause.pk}/change/", data | ends)
    pause.refresh_from_db()
    assert pause.ended_at is not None
    assert bob.name in office.get("/admin/runners/pause/").text
