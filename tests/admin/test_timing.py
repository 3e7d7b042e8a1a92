"""Stations, chips and passings in the race office."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from runners.models import (
    Alert,
    Chip,
    Entry,
    LatestPosition,
    News,
    Passing,
    Race,
    Runner,
    Split,
    Station,
    Subscription,
)
from runners.models.race_role import Role
from runners.races.course import Course
from runners.rights.roles import role_set
from runners.timing.reads import read_of
from runners.timing.storage import (
    passings_reassign,
    passings_recompute,
    passings_store,
)
from runners.units.earth import METRES_PER_DEGREE
from tests.admin.test_races import form as race_form
from tests.factories.people import signed_in
from tests.factories.positions import make_position
from tests.races.field import make_entry, pass_mats

pytestmark = pytest.mark.django_db


@pytest.fixture
def entry(park: Race, bob: Runner) -> Entry:
    Race.objects.update(start=park.start - timedelta(hours=1))
    park.refresh_from_db()
    return Entry.objects.create(race=park, runner=bob, bib="1")


@pytest.fixture
def url(entry: Entry) -> str:
    return f"/admin/runners/race/{entry.race_id}/timing/"


def store_gunshots(race: Race, *seconds: float) -> None:
    """Store markers at seconds after the start."""
    markers = [
        read_of(
            *("Start", f"n=Gun {n}"),
            time=race.start + timedelta(seconds=n),
            is_marker=True,
        )
        for n in seconds
    ]
    passings_store(race=race, source=Passing.Source.MYLAPS, reads=markers)


def pass_at_a_distance(entry: Entry, *fixes: tuple[int, float]) -> None:
    """Store a passing at 1 km, and fixes at these seconds from it, metres along."""
    passed = entry.race.start + timedelta(minutes=20)
    course = Course(entry.race.line, entry.race.length)
    mat = course.point_at(1_000)
    for seconds, along in fixes:
        LatestPosition.objects.update_or_create(
            runner=entry.runner,
            defaults={
                "recorded_at": passed + timedelta(seconds=seconds),
                "contact_at": passed,
                "lat": mat[0] + (along - 1_000) / METRES_PER_DEGREE,
                "lng": mat[1],
            },
        )
        latest = LatestPosition.objects.get()
        make_position(
            entry.runner,
            latest.recorded_at,
            lat=latest.lat,
            lng=latest.lng,
            stored_at=passed,
        )
    pass_mats(entry.race, "1", ("1 km", 20))


def states() -> list[str]:
    return list(Passing.objects.order_by("pk").values_list("state", flat=True))


def test_an_unknown_station_is_listed_until_it_has_a_checkpoint(
    office: Client, entry: Entry
) -> None:
    pass_mats(entry.race, "1", ("Box 4", 20))
    station = Station.objects.get()
    listed = office.get("/admin/runners/passing/?state__exact=station").text
    assert "Box 4 1 20" in listed
    assert "choose a checkpoint" in office.get("/admin/runners/station/").text

    checkpoint = entry.race.checkpoints.get(name="1 km")
    office.post(
        f"/admin/runners/station/{station.pk}/change/",
        {"name": "Box 4", "checkpoints": [checkpoint.pk]},
    )

    split = Split.objects.get(entry=entry, checkpoint=checkpoint)
    assert split.by_mat and split.time == entry.race.start + timedelta(minutes=20)
    assert states() == ["used"]
    assert "mat" in office.get("/admin/runners/split/").text


def test_a_gunshot_is_proposed_as_the_start_of_the_race_and_its_wave(
    office: Client, entry: Entry, url: str
) -> None:
    race = entry.race
    red = race.waves.create(name="Red", start=race.start)
    late = race.waves.create(name="Late", start=race.start + timedelta(minutes=10))
    pass_mats(race, "1", ("Start", 3), ("1 km", 20))
    # Those after the last start are newer.
    seconds = (-3_000, 2.5, 605, *range(3_000, 3_020))
    store_gunshots(race, *seconds)
    proposed = office.get(url).text
    assert "n=Gun -3000" not in proposed and "n=Gun 3000" not in proposed
    assert f"{race.name} and Red started at" in proposed
    early, first, second = (
        Passing.objects.get(raw=f"n=Gun {n}", state="marker").pk
        for n in (-3_000, 2.5, 605)
    )

    for marker in (first, second):
        office.post(url, {"gunshot": marker})
    answer = office.post(url, {"gunshot": early}, follow=True)
    assert "nothing was changed" in answer.text

    begins = race.start
    for each, moved_s in ((race, 2.5), (red, 2.5), (late, 605)):
        each.refresh_from_db()
        assert each.start == begins + timedelta(seconds=moved_s)


def test_a_gunshot_is_set_by_whoever_may_edit_the_race(
    office: Client, entry: Entry, url: str
) -> None:
    race = entry.race
    pass_mats(race, "1", ("Start", 3))
    store_gunshots(race, 240)
    timer = User.objects.create_user("timer")
    role_set(race=race, user=timer, role=Role.TIMING)
    client = signed_in(timer)
    marker = Passing.objects.get(state="marker").pk
    seen = client.get(url).text
    assert "n=Gun" in seen and "Set it" not in seen
    assert client.post(url, {"gunshot": marker}).status_code == 403
    assert states() == ["used", "marker"]

    office.post(url, {"gunshot": marker})
    # The runner was at the mat before the gun.
    assert states() == ["early", "marker"]


def test_splits_are_computed_again_if_that_failed_after_a_gunshot_was_set(
    office: Client, entry: Entry, url: str
) -> None:
    race = entry.race
    pass_mats(race, "1", ("Start", 3))
    store_gunshots(race, 240)
    Race.objects.update(start=race.start + timedelta(minutes=4))
    assert "Compute the splits again" in office.get(url).text
    assert states() == ["used", "marker"]

    office.post(url, {"gunshot": Passing.objects.get(state="marker").pk})
    assert states() == ["early", "marker"]


def test_a_chip_given_to_somebody_else_takes_its_splits_along(
    office: Client, entry: Entry
) -> None:
    ann = make_entry(entry.race, "ann", "2")
    chip = Chip.objects.create(race=entry.race, code="AB12345", entry=entry)
    pass_mats(entry.race, "AB12345", ("1 km", 20))
    assert Split.objects.get().entry == entry

    office.post(
        f"/admin/runners/chip/{chip.pk}/change/",
        {"race": entry.race_id, "code": "ab12345", "entry": ann.pk},
    )

    assert Split.objects.get().entry == ann
    statuses = Entry.objects.order_by("bib").values_list("status", flat=True)
    assert list(statuses) == ["registered", "started"]


def test_without_a_table_a_chip_is_the_bib_of_its_number(entry: Entry) -> None:
    pass_mats(entry.race, "0000001", ("1 km", 20))
    assert Split.objects.get().entry == entry
    pass_mats(entry.race, "0000009", ("1 km", 20))
    assert states() == ["used", "chip"]


def test_a_time_set_by_hand_goes_before_a_mats(entry: Entry) -> None:
    checkpoint = entry.race.checkpoints.get(name="1 km")
    by_hand = entry.race.start + timedelta(minutes=5)
    Split.objects.create(entry=entry, checkpoint=checkpoint, time=by_hand, by_hand=True)
    pass_mats(entry.race, "1", ("1 km", 20))
    assert Split.objects.get().time == by_hand
    assert states() == ["used"]


def test_an_organiser_who_takes_a_runner_out_goes_before_mats(entry: Entry) -> None:
    Entry.objects.update(status=Entry.Status.DNF)
    pass_mats(entry.race, "1", ("Finish", 50))
    entry.refresh_from_db()
    assert (entry.status, entry.finished_at) == (Entry.Status.DNF, None)


def test_a_finish_mat_finishes_a_runner_until_its_station_is_corrected(
    entry: Entry,
) -> None:
    pass_mats(entry.race, "1", ("Start", 1), ("Finish", 50))
    entry.refresh_from_db()
    assert entry.status == Entry.Status.FINISHED
    assert entry.started_at == entry.race.start + timedelta(minutes=1)
    assert entry.finished_at == entry.race.start + timedelta(minutes=50)

    entry.race.stations.get(name="Finish").checkpoints.clear()
    pass_mats(entry.race, "1", ("Start", 1.5))
    undone = Entry.objects.get()
    assert (undone.status, undone.finished_at) == (Entry.Status.STARTED, None)


@pytest.mark.parametrize(
    ("place", "apart", "uncertainty", "is_flagged"),
    [
        ("1 km", 61, 0, True),
        ("1 km", -90, 20, True),
        ("1 km", 90, 40, False),
        # Runners wait at the start, where a phone's time is only about right.
        ("Start", -120, 0, False),
    ],
)
def test_a_phone_that_disagrees_with_the_chip_is_an_item_on_the_desk(
    office: Client,
    entry: Entry,
    place: str,
    apart: int,
    uncertainty: float,
    is_flagged: bool,
) -> None:
    checkpoint = entry.race.checkpoints.get(name=place)
    phone_time = entry.race.start + timedelta(minutes=20, seconds=apart)
    Split.objects.create(
        entry=entry, checkpoint=checkpoint, time=phone_time, uncertainty=uncertainty
    )
    pass_mats(entry.race, "1", (place, 20))

    split = Split.objects.get()
    assert split.time == entry.race.start + timedelta(minutes=20)
    assert (split.phone_time, split.phone_uncertainty) == (phone_time, uncertainty)
    desk = office.get(f"/admin/runners/race/{entry.race_id}/desk.json").json()
    expected = {"checkpoint": place, "seconds": apart} if is_flagged else None
    assert desk["entries"][0]["disagrees"] == expected


@pytest.mark.parametrize(
    ("fixes", "is_flagged"),
    [
        # In a car, also with a silence before the mat or after it.
        ([(-20, 3_000), (20, 3_200)], True),
        ([(-200, 3_000), (20, 3_000), (25, 3_200)], True),
        ([(-25, 3_200), (-20, 3_000), (200, 3_200)], True),
        # At the mat with a missed split, silent, and one false fix.
        ([(-20, 950), (20, 1_050)], False),
        ([(-200, 3_000), (20, 3_200)], False),
        ([(-20, 950), (20, 3_200)], False),
        ([(-20, 950), (20, 3_000), (25, 3_200)], False),
    ],
)
def test_a_phone_far_from_the_mat_that_sees_the_chip_is_an_item_on_the_desk(
    office: Client,
    entry: Entry,
    fixes: Sequence[tuple[int, float]],
    is_flagged: bool,
) -> None:
    pass_at_a_distance(entry, *fixes)
    desk = office.get(f"/admin/runners/race/{entry.race_id}/desk.json").json()
    expected = {"checkpoint": "1 km", "metres": 2_000} if is_flagged else None
    assert desk["entries"][0]["disagrees"] == expected


@pytest.mark.parametrize(
    ("role", "agreed", "sees"),
    [
        (Role.OFFICE, {}, {"metres", "seconds"}),
        (Role.TIMING, {}, {"seconds"}),
        (Role.READ, {}, set()),
        (Role.OFFICE, {"accepted": False}, set()),
        # The fixes are 20 s before and after the passing, the phone's split 90 s after.
        (Role.OFFICE, {"shown_from": -10}, {"seconds"}),
        (Role.OFFICE, {"shown_until": 10}, set()),
    ],
)
def test_a_disagreement_shows_no_more_than_the_runner_and_the_role_permit(
    client: Client, entry: Entry, role: Role, agreed: dict[str, int], sees: set[str]
) -> None:
    passed = entry.race.start + timedelta(minutes=20)
    bob = User.objects.create_user("bob")
    Runner.objects.update(account=bob, visibility=Runner.Visibility.PRIVATE)
    pass_at_a_distance(entry, (-20, 3_000), (20, 3_200))
    for name, value in agreed.items():
        is_time = name != "accepted"
        Entry.objects.update(
            **{name: passed + timedelta(seconds=value) if is_time else value}
        )
    user = User.objects.create_user("user")
    role_set(race=entry.race, user=user, role=role)
    client.force_login(user)

    def measured() -> set[str]:
        desk = client.get(f"/admin/runners/race/{entry.race_id}/desk.json").json()
        return set(desk["entries"][0]["disagrees"] or ()) - {"checkpoint"}

    assert measured() == sees & {"metres"}
    late = passed + timedelta(seconds=90)
    Split.objects.update(phone_time=late, phone_uncertainty=4)
    assert measured() == sees & {"seconds"}


def test_without_its_mat_a_split_is_the_phones_again(entry: Entry) -> None:
    checkpoint = entry.race.checkpoints.get(name="1 km")
    phone_time = entry.race.start + timedelta(minutes=21)
    Split.objects.create(
        entry=entry, checkpoint=checkpoint, time=phone_time, uncertainty=4
    )
    pass_mats(entry.race, "1", ("1 km", 20))
    other = make_entry(entry.race, "ann", "2")
    Chip.objects.create(race=entry.race, code="1", entry=other)
    passings_reassign(race=entry.race)
    split = Split.objects.get(entry=entry)
    assert (split.time, split.uncertainty, split.by_mat) == (phone_time, 4, False)


def test_followers_are_notified_of_mats_once(entry: Entry) -> None:
    subscription = Subscription.objects.create(endpoint="https://x.example", digest="x")
    Alert.objects.create(subscription=subscription, runner=entry.runner, finish=True)
    for _ in range(2):
        pass_mats(entry.race, "1", ("1 km", 5), ("Finish", 50))
    kinds = News.objects.order_by("kind").values_list("kind", flat=True)
    assert list(kinds) == ["checkpoint", "checkpoint", "finish"]


@pytest.mark.parametrize("hides", ["pause", "zone", "end", "erasure"])
def test_a_mat_shows_nothing_that_the_runner_does_not_share(
    entry: Entry, hides: str
) -> None:
    runner, start = entry.runner, entry.race.start
    lat, lng = Course(entry.race.line).point_at(1_000)
    if hides == "pause":
        runner.pauses.create(
            started_at=start + timedelta(minutes=4),
            ended_at=start + timedelta(minutes=6),
        )
    elif hides == "zone":
        runner.zones.create(name="Home", lat=lat, lng=lng, radius=100)
    elif hides == "end":
        Runner.objects.update(sharing_ends_at=start + timedelta(minutes=4))
    else:
        Runner.objects.update(erased_at=start + timedelta(minutes=6))
    pass_mats(entry.race, "1", ("1 km", 5))
    assert not Split.objects.exists()
    assert states() == ["hidden"]
    entry.refresh_from_db()
    assert entry.status == Entry.Status.REGISTERED


# -- files


def import_file(office: Client, url: str, content: str) -> str:
    """Upload a file, and confirm its preview; return the preview."""
    file = SimpleUploadedFile("table.csv", content.encode())
    preview = office.post(url, {"file": file}).text
    rows = re.search(r'name="rows" value="([^"]+)"', preview)
    assert rows is not None, preview
    assert office.post(url, {"rows": rows[1]}, follow=True).status_code == 200
    return preview


def faults(preview: str) -> list[tuple[str, ...]]:
    table = preview.partition('id="faults"')[2].partition("</table>")[0]
    return re.findall(r"<td>(\d+)</td><td>(\w+)</td><td>(.*?)</td>", table)


def test_a_table_of_chips_is_previewed_with_its_faults_and_imported(
    office: Client, entry: Entry, url: str
) -> None:
    pass_mats(entry.race, "00ab123", ("1 km", 20))
    assert states() == ["chip"]
    preview = import_file(office, url, "Chip;Bib\nAB123;1\n;1\nAB124;99\n")
    assert faults(preview) == [("3", "chip", "–"), ("4", "bib", "99")]
    assert "1</strong> chips" in preview
    # Passings that came before are splits now.
    assert Split.objects.get().entry == entry
    assert "AB123" in office.get("/admin/runners/chip/").text


def test_passings_of_a_file_are_splits_and_a_second_import_changes_nothing(
    office: Client, entry: Entry, url: str
) -> None:
    start = entry.race.start - timedelta(hours=1)
    start = start.replace(minute=50, second=0, microsecond=0)
    Race.objects.update(start=start, ends=start + timedelta(hours=9), timezone="UTC")
    clock = (start + timedelta(minutes=20)).strftime("%H:%M:%S.250")
    content = f"station,time,bib\n1 km,{clock},1\n1 km,25:00:00,1\n,{clock},1\n"
    preview = import_file(office, url, content)
    assert faults(preview) == [("3", "time", "25:00:00"), ("4", "station", "–")]
    import_file(office, url, content)
    time = start + timedelta(minutes=20, milliseconds=250)
    assert [split.time for split in Split.objects.all()] == [time]
    assert Passing.objects.count() == 1


def test_a_file_of_something_else_names_its_columns(office: Client, url: str) -> None:
    file = SimpleUploadedFile("table.csv", b"name,bib\nBob,1\n")
    page = office.post(url, {"file": file}).text
    assert "it has: name, bib." in page


def test_a_changed_confirmation_imports_nothing(office: Client, url: str) -> None:
    page = office.post(url, {"rows": "forged"}, follow=True).text
    assert "nothing was imported" in page
    assert not Chip.objects.exists()


def test_a_start_that_is_moved_changes_the_splits_after_the_commit(
    office: Client, entry: Entry, django_capture_on_commit_callbacks: Any
) -> None:
    race = entry.race
    wave = race.waves.create(name="A", start=race.start)
    pass_mats(race, "1", ("Start", 1), ("1 km", 10))

    def saved(name: str, later: timedelta) -> list[Any]:
        """Move the start and rename the wave; return what waits for the commit."""
        begin = race.start.astimezone(ZoneInfo(race.timezone))
        start = begin + later
        form = race_form(
            slug=race.slug,
            timezone=race.timezone,
            start_0=f"{start:%Y-%m-%d}",
            start_1=f"{start:%H:%M:%S}",
        ) | {
            "waves-TOTAL_FORMS": "1",
            "waves-INITIAL_FORMS": "1",
            "waves-0-id": f"{wave.pk}",
            "waves-0-race": f"{race.pk}",
            "waves-0-name": name,
            "waves-0-start_0": f"{begin:%Y-%m-%d}",
            "waves-0-start_1": f"{begin:%H:%M:%S}",
        }
        with django_capture_on_commit_callbacks() as callbacks:
            done = office.post(f"/admin/runners/race/{race.pk}/change/", form)
        assert done.status_code == 302, done.context["errors"]
        return [
            callback
            for callback in callbacks
            if getattr(callback, "func", None) is passings_recompute
        ]

    assert not saved("B", timedelta(0))
    (recompute,) = saved("B", timedelta(minutes=5))
    assert states() == ["used", "used"]
    recompute()
    assert states() == ["early", "used"]
    assert [split.checkpoint.name for split in Split.objects.all()] == ["1 km"]
