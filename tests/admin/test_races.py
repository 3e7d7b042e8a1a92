from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from runners.admin.race import INLINE_ENTRIES
from runners.models import Checkpoint, Entry, Race, Runner
from runners.races.demo import demo_gpx
from runners.races.race_data import ground_of
from tests.admin.conftest import enter_runners
from tests.races.finishers import results_csv

pytestmark = pytest.mark.django_db

ADD = "/admin/runners/race/add/"


def form(**changes: object) -> dict[str, object]:
    data: dict[str, object] = {
        "name": "Park loop",
        "slug": "park",
        "visibility": "public",
        "top_speed": "12.5",
        "timezone": "Europe/Paris",
        "start_0": "2026-05-31",
        "start_1": "09:00:00",
        "ends_0": "",
        "ends_1": "",
    }
    for prefix in ("checkpoints", "waves", "entries"):
        data |= {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}
    return data | changes


def upload(content: str | bytes) -> SimpleUploadedFile:
    content = content.encode() if isinstance(content, str) else content
    return SimpleUploadedFile("course.gpx", content)


def test_a_race_is_created_from_a_gpx_file(office: Client) -> None:
    page = office.post(ADD, form(gpx=upload(demo_gpx())), follow=True)

    assert "The course is 3.20 km long and has 7 checkpoints" in page.text
    race = Race.objects.get()
    assert race.length == pytest.approx(3_202.5, abs=1)
    assert list(race.checkpoints.values_list("name", flat=True))[:2] == [
        "Start",
        "Cedars",
    ]
    listed = office.get("/admin/runners/race/").text
    assert "3.20 km" in listed
    assert 'href="/races/park/"' in listed
    assert "2026-05-31 09:00 CEST" in listed


def test_times_are_entered_in_the_races_zone(office: Client) -> None:
    office.post(ADD, form())

    race = Race.objects.get()
    assert race.start == datetime(2026, 5, 31, 7, tzinfo=UTC)
    assert race.ends == race.start + timedelta(hours=48)
    url = f"/admin/runners/race/{race.pk}/change/"
    assert 'value="09:00:00"' in office.get(url).text
    ends = {"ends_0": "2026-05-31", "ends_1": "18:00:00"}
    office.post(url, form(name="Renamed", **ends))
    race.refresh_from_db()
    assert race.start == datetime(2026, 5, 31, 7, tzinfo=UTC)
    assert race.ends == datetime(2026, 5, 31, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpx": upload("no course")}, "This is not a GPX file."),
        ({"gpx": upload("")}, "The submitted file is empty."),
        (
            {"gpx": upload('<!DOCTYPE x [<!ENTITY a "b">]><gpx/>')},
            "declares a document type or entities",
        ),
        ({"gpx": upload("<gpx version='1.1'/>")}, "has no track and no route"),
        (
            {"ends_0": "2026-05-31", "ends_1": "08:59"},
            "The end must be after the start.",
        ),
        ({"slug": "Park Run"}, "Use small letters, digits and hyphens."),
        ({"timezone": "Mars/Olympus"}, "Select a valid choice"),
        ({"start_0": ""}, "This field is required."),
    ],
)
def test_an_invalid_race_is_refused_with_a_reason(
    office: Client, changes: dict[str, object], message: str
) -> None:
    page = office.post(ADD, form(**changes))

    assert page.status_code == 200
    assert message in page.text
    assert not Race.objects.exists()


def test_a_new_course_replaces_the_checkpoints(office: Client, park: Race) -> None:
    Checkpoint.objects.create(race=park, name="By hand", distance=10)
    url = f"/admin/runners/race/{park.pk}/change/"

    office.post(url, form(gpx=upload(demo_gpx())))

    names = set(park.checkpoints.values_list("name", flat=True))
    assert "By hand" not in names
    assert {"Start", "Cedars", "Finish"} <= names


def test_a_change_without_a_file_keeps_the_course(office: Client, park: Race) -> None:
    office.post(f"/admin/runners/race/{park.pk}/change/", form(name="Renamed"))

    renamed = Race.objects.get()
    assert renamed.name == "Renamed"
    assert renamed.line == park.line
    assert renamed.checkpoints.count() == 5


def test_an_inline_entry_keeps_its_runner(
    office: Client, park: Race, bob: Runner
) -> None:
    entry = Entry.objects.create(race=park, runner=bob, bib="1")
    charlie = Runner.objects.create(code="18", name="Charlie")
    rows = {
        "entries-TOTAL_FORMS": "2",
        "entries-INITIAL_FORMS": "1",
        "entries-0-id": entry.pk,
        "entries-0-race": park.pk,
        "entries-0-runner": charlie.pk,
        "entries-0-bib": "401",
        "entries-0-status": "registered",
        "entries-1-race": park.pk,
        "entries-1-runner": charlie.pk,
        "entries-1-bib": "402",
        "entries-1-status": "registered",
    }

    office.post(f"/admin/runners/race/{park.pk}/change/", form(**rows))

    assert dict(park.entries.values_list("bib", "runner__name")) == {
        "401": "Bob",
        "402": "Charlie",
    }


def test_a_long_start_list_is_a_separate_page(office: Client, park: Race) -> None:
    enter_runners(park, INLINE_ENTRIES + 1)

    page = office.get(f"/admin/runners/race/{park.pk}/change/").text

    assert "entries-TOTAL_FORMS" not in page
    assert f"{INLINE_ENTRIES + 1} entered" in page
    assert f"/admin/runners/entry/?race={park.slug}" in page


def test_a_race_without_a_course_is_listed_as_such(office: Client) -> None:
    office.post(ADD, form())

    assert "no course yet" in office.get("/admin/runners/race/").text


def test_a_certified_length_scales_the_race(office: Client, park: Race) -> None:
    url = f"/admin/runners/race/{park.pk}/change/"
    pond = Checkpoint.objects.create(race=park, name="Pond", distance=2_264.3)

    for length, message in (("9000", "a length more than 10% from it"), ("3210", "")):
        page = office.post(url, form(length=length, **checkpoints(park)), follow=True)
        assert message in page.text

    park.refresh_from_db()
    assert park.length == 3_210
    distances = dict(park.checkpoints.values_list("name", "distance"))
    assert distances["1 km"] == 1_000
    assert distances["Finish"] == 3_210
    assert distances["Pond"] == pytest.approx(pond.distance * 3_210 / 3_202.5, abs=0.2)


def test_a_new_course_may_have_a_certified_length(office: Client) -> None:
    page = office.post(ADD, form(gpx=upload(demo_gpx(2)), length="6400"), follow=True)

    assert "6.40 km long, as measured 6.41 km, and has" in page.text
    race = Race.objects.get()
    assert race.length == race.checkpoints.get(kind="finish").distance == 6_400
    # A position that each lap passes is one checkpoint.
    names = list(race.checkpoints.values_list("name", flat=True))
    assert names.count("Cedars") == 1 and "Cedars 2" not in names
    # A length without a course cannot be compared.
    page = office.post(ADD, form(slug="other", length="6400"))
    assert "Upload the course first" in page.text


def test_an_empty_length_is_the_measured_one(office: Client, park: Race) -> None:
    measured = park.length
    Race.objects.update(length=3_210)

    office.post(f"/admin/runners/race/{park.pk}/change/", form(length=""))

    park.refresh_from_db()
    assert park.length == pytest.approx(measured)


def test_a_prior_is_learned_from_past_results(office: Client, park: Race) -> None:
    mats = (800.0, 1_600.0, 2_400.0, park.length)
    past = SimpleUploadedFile("2025.csv", results_csv(60, 1, mats=mats).encode())
    url = f"/admin/runners/race/{park.pk}/change/"
    page = office.post(url, form(results=past, _continue="1"), follow=True).text
    assert "2025.csv: 60 runners" in page
    park.refresh_from_db()
    assert ground_of(park).prior.source == "2025.csv"
    office.post(url, form(name="Renamed"))
    park.refresh_from_db()
    assert ground_of(park).prior.runners == 60


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bib,name\n1,Bob\n", "The header has to be distances in metres"),
        ("21097.5,42195\n3600,7200\n", "The results end at 42,195 m"),
        ("1600,3202\n400,800\n", "1 rows have all splits. At least 50"),
    ],
)
def test_unusable_past_results_are_refused(
    office: Client, park: Race, text: str, message: str
) -> None:
    past = SimpleUploadedFile("2025.csv", text.encode())
    url = f"/admin/runners/race/{park.pk}/change/"
    assert message in office.post(url, form(results=past)).text
    park.refresh_from_db()
    assert park.pacing is None


def test_a_wave_starts_in_the_races_zone(office: Client) -> None:
    wave = {
        "waves-TOTAL_FORMS": "1",
        "waves-0-name": "A",
        "waves-0-start_0": "2026-05-31",
        "waves-0-start_1": "09:10:30",
    }

    office.post(ADD, form(**wave))

    (made,) = Race.objects.get().waves.all()
    assert made.start == datetime(2026, 5, 31, 7, 10, 30, tzinfo=UTC)
    page = office.get(f"/admin/runners/race/{made.race_id}/change/").text
    assert 'value="09:10:30"' in page


def test_usual_checkpoints_are_added_and_others_stay(
    office: Client, park: Race
) -> None:
    park.checkpoints.exclude(name="Start").delete()
    Checkpoint.objects.create(race=park, name="Aid", distance=1_030)
    url = f"/admin/runners/race/{park.pk}/checkpoints/"

    assert "Add the checkpoints" in office.get(url).text
    page = office.post(url, {"gpx": upload(demo_gpx())}, follow=True).text

    assert "Added: Cedars, 2 km, Pond, 3 km, Finish." in page
    names = list(park.checkpoints.values_list("name", flat=True))
    assert names == ["Start", "Cedars", "Aid", "2 km", "Pond", "3 km", "Finish"]
    assert "has all usual checkpoints already" in office.post(url, follow=True).text
    assert "not a GPX file" in office.post(url, {"gpx": upload("no")}).text


def test_the_preview_gets_the_course_and_its_checkpoints(
    office: Client, park: Race
) -> None:
    race = office.get(f"/admin/runners/race/{park.pk}/course.json").json()

    assert race["course"]["line"] and race["course"]["length"] == 3202.5
    assert [c["name"] for c in race["checkpoints"]][:2] == ["Start", "1 km"]
    page = office.get(f"/admin/runners/race/{park.pk}/change/").text
    assert "js/admin/course.js" in page or "make setup" in page


def checkpoints(race: Race) -> dict[str, object]:
    """Return the checkpoint fields of the race's form, unchanged."""
    rows: dict[str, object] = {}
    existing = list(race.checkpoints.all())
    for number, row in enumerate(existing):
        for name in ("id", "name", "distance", "kind"):
            rows[f"checkpoints-{number}-{name}"] = getattr(row, name)
    count = str(len(existing))
    return rows | {
        "checkpoints-TOTAL_FORMS": count,
        "checkpoints-INITIAL_FORMS": count,
    }


def test_problems_of_a_course_are_reported_and_repaired(office: Client) -> None:
    twice = upload(demo_gpx(2))
    page = office.post(ADD, form(gpx=twice), follow=True)
    assert "the lap was recorded twice" in page.content.decode()
    race = Race.objects.get()
    length = race.length
    url = f"/admin/runners/race/{race.pk}/change/"
    again = form(gpx=upload(demo_gpx(2)), mend=["lap"], length="")
    office.post(url, again, follow=True)

    race.refresh_from_db()
    assert race.length == pytest.approx(length / 2, rel=0.01)
    # Only a file that is uploaded can be mended.
    page = office.post(url, form(mend=["lap"], length=""), follow=True)
    assert "Upload the file again: it is mended as it is read." in page.text
