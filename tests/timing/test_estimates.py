"""Runners without a phone are estimated between mats, and never past one."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db.models import Model
from django.db.models.signals import post_init
from django.test import Client

from runners.live.encoding.messages import Estimate
from runners.models import Entry, Race
from runners.preferences.runner_settings import sharing_pause, zone_add
from runners.races.arrival import ranges
from runners.races.arrival.estimate import Node, estimated_nodes
from runners.races.arrival.pacing import shipped
from runners.races.arrival.ranges import Passed
from runners.races.arrival.slopes import Slopes
from runners.rights.access import topic_runners
from runners.snapshots.items import runner_items
from runners.units.clock import milliseconds
from tests.api.organisers.system import make_key
from tests.factories.people import make_office
from tests.races.field import METRES_PER_DEGREE, pass_mats

MARATHON = Slopes.flat(42_195)


def nodes(*splits: tuple[float, float], until: float) -> list[Node]:
    samples = [Passed(0.0, 0.0), *(Passed(time, at) for at, time in splits)]
    (found,) = estimated_nodes([(samples, until)], MARATHON, shipped())
    return found


def moment(race: Race, after: float) -> datetime:
    return race.start + timedelta(minutes=after)


def estimate_of(race: Race, code: str) -> Estimate | None:
    runner = Entry.objects.get(race=race, runner__code=code).runner_id
    return runner_items([runner], race.pk)[runner]["estimate"]


def test_an_estimate_runs_from_the_last_mat_to_the_next_one() -> None:
    found = nodes((5_000, 1_500), (10_000, 3_000), until=15_000)
    assert found[0] == (0, 10_000, 10_000, 10_000)
    assert found[-1][1:] == (15_000, 15_000, 15_000)
    slower = nodes((5_000, 2_000), (10_000, 4_000), until=15_000)
    assert slower[-1][1:] == (15_000, 15_000, 15_000)
    middle = next(node for node in found if node.progress == 15_000)
    assert 1_450 < middle.seconds < 1_600
    assert all(n.nearest <= n.progress <= n.farthest for n in found)


def test_a_slow_runner_is_not_estimated_faster_after_the_start() -> None:
    (first, *_, last) = nodes(until=5_000)
    assert first == (0, 0, 0, 0)
    assert last == (2_250, 5_000, 5_000, 5_000)


def test_runners_are_estimated_together_as_each_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    starts = ((), ((5_000.0, 1_500.0),), ((5_000.0, 1_700.0), (10_000.0, 3_600.0)))
    runners = [
        ([Passed(0.0, 0.0), *(Passed(time, at) for at, time in splits)], until)
        for splits, until in zip(starts, (5_000.0, 10_000.0, 30_000.0), strict=True)
    ]
    alone = [estimated_nodes([runner], MARATHON, shipped())[0] for runner in runners]
    assert estimated_nodes(runners, MARATHON, shipped()) == alone

    # The prediction of the second runner fails: the pace is that of most runners.
    shares = iter((math.nan, 0.3))
    monkeypatch.setattr(ranges, "_shown", lambda *_: next(shares))
    first, second, third = estimated_nodes(runners, MARATHON, shipped())
    assert (first, third) == (alone[0], alone[2])
    assert second[-1] == (0.45 * 5_000, 10_000, 10_000, 10_000)
    (record,) = caplog.records
    assert "of 1 runners" in record.message and "[1500.0, 5000.0" in record.message


def test_a_snapshot_has_the_way_to_the_next_mat(ten: Race) -> None:
    pass_mats(ten, "41", ("Start", 70), ("5 km", 100))
    found = estimate_of(ten, "bob")
    assert found is not None
    seven = ten.checkpoints.get(name="7.5 km").pk
    assert (found["t"], found["checkpoint"]) == (
        round(moment(ten, 100).timestamp() * 1000),
        seven,
    )
    assert found["nodes"][-1][1] == 7_500
    # A mat that has seen others is the next one.
    pass_mats(ten, "KV86583", ("Start", 60), ("Finish", 105))
    pass_mats(ten, "41", ("5 km", 99))
    found = estimate_of(ten, "bob")
    assert found is not None
    assert found["checkpoint"] == ten.checkpoints.get(name="Finish").pk


def test_the_estimate_ends_with_the_course(ten: Race) -> None:
    pass_mats(ten, "41", ("Start", 70), ("2.5 km", 85))
    assert estimate_of(ten, "bob") is not None
    ten.line = []
    ten.save()
    pass_mats(ten, "41", ("5 km", 100))
    assert estimate_of(ten, "bob") is None


def test_a_snapshot_makes_no_model_instances_of_runners_without_a_phone(
    ten: Race,
) -> None:
    pass_mats(ten, "41", ("Start", 70), ("5 km", 100))
    made: list[type[Model]] = []

    def note(sender: type[Model], **_: Any) -> None:
        made.append(sender)

    post_init.connect(note)
    items = runner_items(topic_runners(ten.pk), ten.pk)
    post_init.disconnect(note)
    assert sorted(item["estimate"] is None for item in items.values()) == [False, True]
    assert set(made) <= {Race}


def test_a_time_that_an_organiser_sets_renews_the_estimate(
    ten: Race, client: Client
) -> None:
    pass_mats(ten, "41", ("Start", 70), ("2.5 km", 85))
    bob = Entry.objects.get(runner__code="bob")
    office = make_office()
    client.force_login(office)

    def seen_at() -> tuple[int, int]:
        found = estimate_of(ten, "bob")
        assert found is not None
        return found["t"], found["checkpoint"]

    key = make_key(office, race=ten)[1]
    time = {"bib": "2", "checkpoint": "5 km", "time": moment(ten, 100).isoformat()}
    stored = client.post(
        "/api/v1/races/ten/splits",
        {"splits": [time]},
        content_type="application/json",
        headers={"authorization": f"Bearer {key}"},
    )
    assert stored.json()["new"] == 1
    stops = {stop.name: stop.pk for stop in ten.checkpoints.all()}
    assert seen_at() == (milliseconds(moment(ten, 100)), stops["7.5 km"])

    local = moment(ten, 112).astimezone(ZoneInfo(ten.timezone))
    row = {
        "entry": bob.pk,
        "checkpoint": stops["7.5 km"],
        "pass_number": 1,
        "time_0": f"{local:%Y-%m-%d}",
        "time_1": f"{local:%H:%M:%S}",
    }
    form = {"bib": "2", "status": "started", "shows_estimate": "on"}
    counts = {"splits-TOTAL_FORMS": 1, "splits-INITIAL_FORMS": 0}
    client.post(
        f"/admin/runners/entry/{bob.pk}/change/",
        form | counts | {f"splits-0-{name}": value for name, value in row.items()},
    )
    at = milliseconds(local.replace(microsecond=0))
    assert seen_at() == (at, stops["Finish"])


@pytest.mark.parametrize("status", ["finished", "dnf", "registered"])
def test_only_runners_on_the_course_are_estimated(ten: Race, status: str) -> None:
    pass_mats(ten, "41", ("Start", 70), ("5 km", 100))
    Entry.objects.filter(runner__code="bob").update(status=status)
    assert estimate_of(ten, "bob") is None


def test_a_start_list_may_refuse_the_estimate(ten: Race) -> None:
    pass_mats(ten, "41", ("Start", 70), ("5 km", 100))
    Entry.objects.filter(runner__code="bob").update(shows_estimate=False)
    assert estimate_of(ten, "bob") is None


def test_runners_who_pause_are_not_estimated_until_the_next_mat(ten: Race) -> None:
    pass_mats(ten, "41", ("Start", 70), ("5 km", 100))
    sharing_pause(runner=Entry.objects.get(runner__code="bob").runner)
    assert estimate_of(ten, "bob") is None


@pytest.mark.parametrize("before", [True, False])
def test_nobody_is_estimated_on_a_way_with_a_privacy_zone(
    ten: Race, before: bool
) -> None:
    runner = Entry.objects.get(runner__code="bob").runner
    lat = 48 + 6_000 / METRES_PER_DEGREE
    if before:
        zone_add(runner=runner, name="home", lat=lat, lng=2.0, radius=200)
    pass_mats(ten, "41", ("Start", 70), ("5 km", 100))
    if not before:
        assert estimate_of(ten, "bob") is not None
        zone_add(runner=runner, name="home", lat=lat, lng=2.0, radius=200)
    assert estimate_of(ten, "bob") is None
