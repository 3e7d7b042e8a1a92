"""A file of a watch fills the gap of a phone that died."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from runners.activity_files.formats import FileError
from runners.activity_files.importing import FilePlan, file_import, file_plan
from runners.models import (
    Chip,
    Entry,
    LatestPosition,
    Passing,
    Pause,
    Position,
    Race,
    RightsChange,
    Runner,
    Split,
    Zone,
)
from runners.models.race_role import Role
from runners.positions.active_entry import active_entry
from runners.positions.fix import Fix
from runners.positions.recompute import recompute
from runners.races.entries import splits_set
from runners.rights.roles import role_set
from runners.rights.windows import public_from
from runners.timing.reads import read_of
from runners.timing.storage import passings_store
from runners.units.clock import moment_of
from runners.views.me import files
from tests.activity_files.files import At, fit, gpx
from tests.races.field import METRES_PER_DEGREE, make_entry, make_race

pytestmark = pytest.mark.django_db

PACE_S_PER_M = 0.3
# The phone of the runner stops here; the race has 10 km.
DIED_AT_M = 6_000


@pytest.fixture
def race() -> Race:
    """A race of 10 km that is over."""
    now = timezone.now().replace(second=0, microsecond=0)
    return make_race(start=now - timedelta(days=1))


@pytest.fixture
def entry(race: Race) -> Entry:
    """A runner whose phone died at 6 km."""
    entry = make_entry(race, "bob", "17")
    Position.objects.bulk_create(
        Position(
            runner=entry.runner,
            recorded_at=moment_of(fix.t),
            lat=fix.lat,
            lng=fix.lng,
            source="osmand",
            stored_at=race.start,
        )
        for fix in run(race, until=DIED_AT_M, every=10)
    )
    recompute(entry.runner_id, active_entry(entry))
    return entry


def run(
    race: Race, *, until: int = 11_000, every: int = 1, east: float = 0.0
) -> list[Fix]:
    """Return the run of the course and a kilometre on, a position each `every` s."""
    start = round(race.start.timestamp() * 1000)
    seconds = range(-60, round(until * PACE_S_PER_M), every)
    return [
        Fix(
            start + 1000 * t,
            48 + max(t, 0) / PACE_S_PER_M / METRES_PER_DEGREE,
            2.0 + east,
        )
        for t in seconds
    ]


def add(entry: Entry, fixes: list[Fix] | None = None) -> FilePlan:
    plan = file_import(entry=entry, fixes=fixes or run(entry.race))
    entry.refresh_from_db()
    return plan


def marks(entry: Entry) -> dict[str, str]:
    """Return who has taken the time at each checkpoint."""
    return {
        split.checkpoint.name: "hand"
        if split.by_hand
        else "mat"
        if split.by_mat
        else "file"
        if split.by_file
        else "phone"
        for split in entry.splits.select_related("checkpoint")
    }


def test_a_file_completes_the_track_and_the_splits(entry: Entry) -> None:
    assert entry.finished_at is None
    before = dict(entry.splits.values_list("checkpoint__name", "time"))

    plan = add(entry)

    assert marks(entry) == {
        **{"Start": "phone", "2.5 km": "phone", "5 km": "phone"},
        **{"7.5 km": "file", "Finish": "file"},
    }
    assert (
        before.items()
        <= dict(entry.splits.values_list("checkpoint__name", "time")).items()
    )
    assert entry.status == "finished" and entry.finished_at
    took = (entry.finished_at - entry.race.start).total_seconds()
    assert took == pytest.approx(10_000 * PACE_S_PER_M, abs=10)
    assert [name for name, _, _ in plan.splits] == ["7.5 km", "Finish"]
    # Nobody else's business: the way home.
    assert plan.after > 0
    last = Position.objects.filter(source="file").latest("recorded_at")
    assert last.recorded_at <= entry.finished_at + timedelta(minutes=1)
    latest = LatestPosition.objects.get(runner=entry.runner)
    assert latest.recorded_at == last.recorded_at
    assert latest.progress == pytest.approx(10_000, abs=20)


def test_followers_get_the_new_times_from_each_process(entry: Entry) -> None:
    RightsChange.objects.all().delete()
    add(entry)
    changes = set(RightsChange.objects.values_list("kind", "key"))
    finish = entry.splits.get(checkpoint__name="Finish")
    assert {("runner", entry.runner_id), ("split", finish.pk)} <= changes
    phone = entry.splits.get(checkpoint__name="2.5 km")
    assert ("split", phone.pk) not in changes


def test_adding_a_file_again_changes_nothing(entry: Entry) -> None:
    add(entry)

    def stored() -> list[Any]:
        tables = (Position.objects.order_by("pk"), Split.objects.order_by("pk"))
        return [*tables[0].values_list(), *tables[1].values_list()]

    before = stored()
    plan = add(entry)
    assert stored() == before
    assert not plan.fixes and plan.known > 0


def test_a_file_that_begins_before_the_race_and_has_no_phone_gives_all_splits(
    race: Race,
) -> None:
    entry = make_entry(race, "ann", "18")
    add(entry)
    assert set(marks(entry).values()) == {"file"}
    assert len(marks(entry)) == 5


def test_a_pause_a_zone_and_the_end_of_sharing_hide_what_the_file_has(
    entry: Entry,
) -> None:
    start = entry.race.start
    paused = start + timedelta(seconds=2_000), start + timedelta(seconds=2_200)
    Pause.objects.create(runner=entry.runner, started_at=paused[0], ended_at=paused[1])
    lat = 48 + 9_000 / METRES_PER_DEGREE
    Zone.objects.create(runner=entry.runner, lat=lat, lng=2.0, radius=200)
    Runner.objects.filter(pk=entry.runner_id).update(
        sharing_ends_at=start + timedelta(seconds=2_950)
    )
    plan = add(entry)

    assert plan.hidden > 0
    stored = Position.objects.filter(source="file")
    assert stored.exists()
    during = stored.filter(recorded_at__gte=paused[0], recorded_at__lt=paused[1])
    assert not during.exists()
    assert not stored.filter(lat__range=(lat - 0.0018, lat + 0.0018))
    assert not stored.filter(recorded_at__gt=start + timedelta(seconds=2_950))
    assert "Finish" not in marks(entry)


def test_a_hand_and_a_mat_go_before_the_file(entry: Entry) -> None:
    race = entry.race
    Chip.objects.create(race=race, code="C1", entry=entry)
    time = race.start + timedelta(seconds=3_010)
    read = read_of("Finish", "line", "C1", time)
    passings_store(race=race, source=Passing.Source.MYLAPS, reads=[read])
    checkpoint = race.checkpoints.get(name="7.5 km")
    by_hand = race.start + timedelta(seconds=2_300)
    split = Split.objects.create(
        entry=entry, checkpoint=checkpoint, time=by_hand, by_hand=True
    )
    splits_set(splits=[split])

    plan = add(entry)

    assert (marks(entry)["Finish"], marks(entry)["7.5 km"]) == ("mat", "hand")
    assert plan.splits == []
    finish = entry.splits.get(checkpoint__name="Finish")
    assert finish.time == time and finish.by_file
    assert finish.phone_time is not None and finish.phone_time < time
    assert entry.splits.get(checkpoint=checkpoint).time == by_hand


def test_a_jump_in_the_file_is_held(entry: Entry) -> None:
    fixes = run(entry.race)
    away = len(run(entry.race, until=8_000))
    fixes[away] = Fix(fixes[away].t // 5000 * 5000, fixes[away].lat, 2.1)
    fixes = sorted({fix.t: fix for fix in fixes}.values(), key=lambda fix: fix.t)
    plan = add(entry, fixes)
    assert plan.held == 1
    assert Position.objects.filter(source="file", held=True).count() == 1


@pytest.mark.parametrize(
    ("days", "east", "words"),
    [(-7, 0.0, "no position during the race"), (0, 0.1, "on the course of this race")],
)
def test_a_file_of_a_different_day_or_course_is_refused(
    entry: Entry, days: int, east: float, words: str
) -> None:
    fixes = run(entry.race, east=east)
    later = [Fix(fix.t + days * 86_400_000, fix.lat, fix.lng) for fix in fixes]
    with pytest.raises(FileError, match=words):
        file_plan(entry=entry, fixes=later)


def test_an_entry_that_was_not_accepted_gets_no_file(entry: Entry) -> None:
    Runner.objects.filter(pk=entry.runner_id).update(
        account=User.objects.create(username="bob")
    )
    Entry.objects.update(accepted=False)
    with pytest.raises(FileError, match="has not accepted"):
        file_plan(entry=entry, fixes=run(entry.race))


def test_late_acceptance_hides_positions_and_not_the_times_of_the_own_file(
    entry: Entry,
) -> None:
    Runner.objects.filter(pk=entry.runner_id).update(
        account=User.objects.create(username="bob"), visibility="race"
    )
    accepted_at = entry.race.ends + timedelta(hours=1)
    Entry.objects.update(shown_from=accepted_at)
    entry = Entry.objects.get()
    fixes = run(entry.race)
    # The race office has no consent for that time.
    with pytest.raises(FileError, match="no position during the race"):
        file_plan(entry=entry, fixes=fixes)
    file_import(entry=entry, fixes=fixes, is_own=True)
    assert marks(entry)["Finish"] == "file"
    assert [opens for _, opens, _ in Entry.objects.windows()] == [accepted_at]
    begins = public_from([entry.runner_id], entry.race)
    assert begins == {entry.runner_id: accepted_at}
    # A late position of the phone does not delete the times.
    Position.objects.update(progress=None, held=False)
    Entry.objects.update(shown_from=entry.race.ends - timedelta(hours=1))
    recompute(entry.runner_id, active_entry(Entry.objects.get()))
    assert marks(entry)["Finish"] == "file"


# -- the pages


def upload(content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("run.fit", content)


def points(race: Race) -> list[At]:
    return [At(fix.t / 1000, fix.lat, fix.lng) for fix in run(race, every=5)]


def signed(page: str) -> str:
    return page.split('name="fixes" value="')[1].split('"')[0]


def test_a_runner_adds_the_file_of_their_watch(client: Client, entry: Entry) -> None:
    user = User.objects.create(username="bob")
    Runner.objects.filter(pk=entry.runner_id).update(account=user)
    # Accepted after the race.
    Entry.objects.update(shown_from=timezone.now())
    client.force_login(user)
    assert "/me/files/" in client.get("/me/").text
    assert entry.race.name in client.get("/me/files/").text
    chosen = {"entry_of": entry.pk}

    wrong = client.post("/me/files/", {**chosen, "file": upload(b"bib,name")}).text
    assert "This is not a FIT, TCX or GPX file." in wrong

    content = fit(points(entry.race))
    page = client.post("/me/files/", {**chosen, "file": upload(content)}).text
    assert "positions fill gaps" in page and "7.5 km" in page
    assert not Position.objects.filter(source="file").exists()
    done = client.post(
        "/me/files/", {**chosen, "fixes": signed(page)}, follow=True
    ).text
    assert "positions of the file are stored" in done
    assert marks(entry)["Finish"] == "file"
    again = client.post("/me/files/", {**chosen, "file": upload(content)}).text
    assert "There is nothing to add." in again and 'name="fixes"' not in again


def test_a_preview_is_of_one_entry_only(client: Client, entry: Entry) -> None:
    user = User.objects.create(username="bob")
    Runner.objects.filter(pk=entry.runner_id).update(account=user)
    other = make_entry(entry.race, "ann", "18")
    client.force_login(user)
    content = upload(gpx(points(entry.race)))
    page = client.post("/me/files/", {"entry_of": entry.pk, "file": content}).text
    # An entry of a different runner is no choice, and a preview cannot be moved.
    strange = {"entry_of": other.pk, "fixes": signed(page)}
    assert "Select a valid choice" in client.post("/me/files/", strange).text
    forged = {"entry_of": entry.pk, "fixes": signed(page)[:-3]}
    done = client.post("/me/files/", forged, follow=True).text
    assert "nothing was stored" in done
    assert not Position.objects.filter(source="file").exists()


def test_the_files_of_a_runner_are_limited(
    client: Client, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = User.objects.create(username="bob")
    Runner.objects.filter(pk=entry.runner_id).update(account=user)
    client.force_login(user)
    chosen = {"entry_of": entry.pk, "file": upload(b"bib,name")}
    monkeypatch.setattr(files, "MAX_FILES", 0)
    page = client.post("/me/files/", chosen, follow=True).text
    assert "Too many requests" in page and "not a FIT" not in page


def test_the_race_office_adds_a_file(client: Client, entry: Entry) -> None:
    office = User.objects.create(username="office")
    role_set(race=entry.race, user=office, role=Role.TIMING)
    client.force_login(office)
    url = f"/admin/runners/race/{entry.race_id}/entries/{entry.pk}/file/"
    assert client.get(url).status_code == 403
    role_set(race=entry.race, user=office, role=Role.OFFICE)
    assert url in client.get(f"/admin/runners/entry/{entry.pk}/change/").text

    page = client.post(url, {"file": upload(fit(points(entry.race)))}).text
    assert "positions fill gaps" in page and "7.5 km" in page
    client.post(url, {"fixes": signed(page)})
    assert marks(entry)["Finish"] == "file"
