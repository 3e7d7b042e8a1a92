from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from runners.models import Checkpoint, Entry, Race, Runner, Split
from tests.factories.races import make_bare_race

pytestmark = pytest.mark.django_db

PHONE_TIME = datetime(2026, 5, 31, 7, 10, 20, 345_000, tzinfo=UTC)


@pytest.fixture
def entry(park: Race, bob: Runner) -> Entry:
    Race.objects.update(timezone="Europe/Paris")
    return Entry.objects.create(race=park, runner=bob, bib="1")


@pytest.fixture
def split(entry: Entry) -> Split:
    checkpoint = entry.race.checkpoints.get(name="1 km")
    return Split.objects.create(
        entry=entry, checkpoint=checkpoint, time=PHONE_TIME, uncertainty=4
    )


def form(split: Split, **changes: Any) -> dict[str, Any]:
    """Return the form of a split, with the time in the zone of Paris."""
    data = {
        "checkpoint": split.checkpoint_id,
        "pass_number": split.pass_number,
        "time_0": "2026-05-31",
        "time_1": "09:10:20",
    }
    return data | changes


def inline(entry: Entry, *rows: dict[str, Any]) -> dict[str, Any]:
    """Return the form of an entry."""
    data: dict[str, Any] = {
        "bib": entry.bib,
        "status": entry.status,
        "splits-TOTAL_FORMS": len(rows),
        "splits-INITIAL_FORMS": sum("id" in row for row in rows),
    }
    for number, row in enumerate(rows):
        values = {"entry": entry.pk} | row
        data |= {f"splits-{number}-{name}": value for name, value in values.items()}
    return data


def test_a_corrected_time_is_in_the_races_zone_and_marked(
    office: Client, split: Split
) -> None:
    url = f"/admin/runners/split/{split.pk}/change/"
    assert 'value="09:10:20"' in office.get(url).text

    office.post(url, form(split, time_1="09:11:00"))

    split.refresh_from_db()
    assert split.time == datetime(2026, 5, 31, 7, 11, tzinfo=UTC)
    assert (split.by_hand, split.uncertainty) == (True, 0)
    listed = office.get("/admin/runners/split/").text
    assert "by hand" in listed and "2026-05-31 09:11:00 CEST" in listed


def test_saving_without_a_change_keeps_the_phones_time(
    office: Client, split: Split
) -> None:
    office.post(f"/admin/runners/split/{split.pk}/change/", form(split))

    split.refresh_from_db()
    assert (split.time, split.by_hand) == (PHONE_TIME, False)


def test_a_missing_time_is_added_on_the_entrys_page(
    office: Client, entry: Entry
) -> None:
    finish = entry.race.checkpoints.get(kind=Checkpoint.Kind.FINISH)
    url = f"/admin/runners/entry/{entry.pk}/change/"

    assert office.get(url).status_code == 200
    office.post(url, inline(entry, form(Split(checkpoint=finish))))

    split = Split.objects.get()
    assert split.by_hand
    entry.refresh_from_db()
    assert split.time == datetime(2026, 5, 31, 7, 10, 20, tzinfo=UTC)
    assert (entry.status, entry.finished_at) == ("finished", split.time)


def test_an_entry_follows_only_changed_splits(
    office: Client, entry: Entry, split: Split
) -> None:
    start = entry.race.checkpoints.get(kind=Checkpoint.Kind.START)
    rows = [form(split, id=split.pk), form(Split(checkpoint=start), time_1="09:00:03")]

    office.post(f"/admin/runners/entry/{entry.pk}/change/", inline(entry, *rows))

    entry.refresh_from_db()
    split.refresh_from_db()
    assert entry.started_at == datetime(2026, 5, 31, 7, 0, 3, tzinfo=UTC)
    assert entry.status == "started"
    assert not split.by_hand


def test_a_checkpoint_of_a_different_race_is_no_choice(
    office: Client, entry: Entry, split: Split
) -> None:
    other = make_bare_race("other", PHONE_TIME)
    foreign = Checkpoint.objects.create(race=other, name="Bridge", distance=10)

    url = f"/admin/runners/split/{split.pk}/change/"
    page = office.post(url, form(split, checkpoint=foreign.pk))

    assert "Select a valid choice" in page.text


@pytest.mark.parametrize("status", ["started", "finished", "dnf", "dns", "dsq"])
def test_entries_are_marked_together(office: Client, entry: Entry, status: str) -> None:
    office.post(
        "/admin/runners/entry/",
        {"action": f"mark_{status}", "_selected_action": [entry.pk]},
    )

    entry.refresh_from_db()
    assert entry.status == status


def test_an_entry_of_a_runner_with_an_account_waits_for_acceptance(
    office: Client, park: Race, bob: Runner
) -> None:
    bob.account = User.objects.create(username="bob")
    bob.save()
    charlie = Runner.objects.create(code="18", name="Charlie")

    for bib, runner in (("1", bob), ("2", charlie)):
        office.post(
            "/admin/runners/entry/add/",
            {"bib": bib, "race": park.pk, "runner": runner.pk, "status": "registered"},
        )

    assert dict(park.entries.values_list("bib", "accepted")) == {"1": False, "2": True}
