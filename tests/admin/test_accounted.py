"""The list for the desk that accounts for every starter."""

from __future__ import annotations

import csv
import io
import math
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from runners.models import Chip, Entry, Race, RaceRole, Runner
from runners.models.race_role import Role
from runners.races.accounted import STARTERS, Accounts, Group, accounts_of
from runners.races.arrival import ranges
from runners.races.arrival.eta import latest_arrival
from runners.races.entries import entry_mark
from tests.races.field import make_entry, make_race, pass_mats

pytestmark = pytest.mark.django_db

MINUTES = (-5, 1, 10, 21, 40, 75, 200)


@pytest.fixture
def ten() -> Race:
    """A race of 10 km that started 90 minutes ago, with one runner of each kind."""
    race = make_race(start=timezone.now() - timedelta(minutes=90))
    for bib in ("10", "11", "12", "13", "14", "15", "16", "17", "18"):
        entry = make_entry(race, f"r{bib}", bib)
        if bib != "18":
            Chip.objects.create(race=race, code=f"C{bib}", entry=entry)
    # A phone that still sends at 8 km, and one that stopped.
    make_entry(race, "sends", "1", pace=0.6)
    silent = make_entry(race, "silent", "2", pace=0.6)
    stops = race.start + timedelta(minutes=72)
    silent.splits.filter(time__gt=stops).delete()
    silent.runner.positions.filter(recorded_at__gt=stops).delete()
    last = silent.runner.positions.latest("recorded_at")
    type(silent.runner.latest).objects.filter(runner=silent.runner).update(
        recorded_at=last.recorded_at, progress=last.progress
    )
    return race


def play(race: Race, minute: float) -> None:
    """Play what mats and the office do until a minute of the race."""
    for at, station, chip in (
        (0.5, "Start", "C10"),
        (20, "5 km", "C10"),
        (40, "Finish", "C10"),
        # Seen at 5 km, and not since.
        (0.5, "Start", "C11"),
        (20, "5 km", "C11"),
        # Started, and never seen again.
        (0.5, "Start", "C12"),
        # Slow, and still within the range.
        (1, "Start", "C13"),
        (70, "5 km", "C13"),
        (0.5, "Start", "C14"),
        (0.5, "Start", "C15"),
        (30, "5 km", "C15"),
        (38, "Finish", "C15"),
        # A chip of nobody.
        (20, "5 km", "C99"),
    ):
        if at <= minute:
            pass_mats(race, chip, (station, at))
    for at, bib, status in ((12, "14", "dnf"), (39, "15", "dsq"), (15, "16", "dns")):
        if at <= minute:
            entry_mark(entry=race.entries.get(bib=bib), status=status)


def groups(accounts: Accounts) -> dict[str, str]:
    return {account.row.bib: account.group.value for account in accounts.accounts}


def test_every_runner_is_in_the_group_of_what_is_known_about_them(ten: Race) -> None:
    play(ten, 85)
    accounts = accounts_of(ten, ten.start + timedelta(minutes=85))

    assert groups(accounts) == {
        **{"11": "overdue", "12": "overdue", "2": "overdue"},
        **{"1": "course", "13": "course", "10": "finished"},
        **{"14": "dnf", "15": "dsq", "16": "dns"},
        **{"17": "registered", "18": "registered"},
    }
    assert accounts.unknown_chips == 1
    assert [account.row.bib for account in accounts.accounts][0] == "11"
    by_bib = {account.row.bib: account for account in accounts.accounts}
    seen, due = by_bib["11"].seen, by_bib["11"].due
    assert seen and due
    assert (seen.distance, seen.place, due.place) == (5000.0, "5 km", "Finish")
    # Half an hour for 5 km was his pace.
    assert 40 < (due.time - ten.start.timestamp()) / 60 < 60

    # The next view computes only what has changed.
    computed = latest_arrival.cache_info().misses
    assert accounts_of(ten, accounts.at).accounts == accounts.accounts
    assert latest_arrival.cache_info().misses == computed


def test_the_groups_add_up_to_the_starters_at_any_moment(ten: Race) -> None:
    entered = ten.entries.count()
    for minute in MINUTES:
        play(ten, minute)
        accounts = accounts_of(ten, ten.start + timedelta(minutes=minute))

        waiting = Entry.objects.filter(status__in=("registered", "dns")).count()
        assert sum(accounts.counts.values()) == len(accounts.accounts) == entered
        assert sum(accounts.counts[group] for group in STARTERS) == entered - waiting
        assert accounts.starters == entered - waiting


def test_a_runner_who_was_marked_as_absent_and_is_seen_is_noted(ten: Race) -> None:
    entry_mark(entry=ten.entries.get(bib="16"), status="dns")
    pass_mats(ten, "C16", ("Start", 2))
    accounts = accounts_of(ten, timezone.now())
    assert [a.row.bib for a in accounts.accounts if a.contradicts] == ["16"]


def test_a_mat_that_is_not_there_does_not_make_a_chip_overdue(ten: Race) -> None:
    # 2.5 km has no mat, and would have been due at the pace of a walk after 42 minutes.
    pass_mats(ten, "C12", ("Start", 0))
    pass_mats(ten, "C10", ("5 km", 20))
    accounts = accounts_of(ten, ten.start + timedelta(minutes=60))
    (due,) = [a.due for a in accounts.accounts if a.row.bib == "12"]
    assert due and due.place == "5 km"
    assert groups(accounts)["12"] == Group.OUT_THERE


def test_the_page_and_the_file_list_what_adds_up(
    office: Client, ten: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(ten, 85)
    url = f"/admin/runners/race/{ten.pk}/accounted"

    page = office.get(f"{url}/").text
    assert "C99" not in page and "1 unknown chip" in page
    for line in ("Starters</th><td>8", "Overdue</a></th><td>3"):
        assert line in page
    assert 'scope="row">10<' not in page
    assert 'scope="row">10<' in office.get(f"{url}/?show=finished").text

    text = office.get(f"{url}.csv").content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == ten.entries.count()
    (eleven,) = [row for row in rows if row["bib"] == "11"]
    assert eleven["group"] == "Overdue" and eleven["after"] == "5 km"

    # Without predictions, times of most runners.
    monkeypatch.setattr(ranges, "_shown", lambda *_: math.nan)
    latest_arrival.cache_clear()
    assert office.get(f"{url}.csv").status_code == 200
    assert "Overdue</a></th><td>3" in office.get(f"{url}/").text


def test_the_list_needs_the_right_to_see_the_race(client: Client, ten: Race) -> None:
    user = User.objects.create(username="helper", is_staff=True)
    client.force_login(user)
    url = f"/admin/runners/race/{ten.pk}/accounted"
    for address in (f"{url}/", f"{url}.csv"):
        assert client.get(address).status_code == 403
    RaceRole.objects.create(race=ten, user=user, role=Role.READ)
    for address in (f"{url}/", f"{url}.csv"):
        assert client.get(address).status_code == 200


def test_a_name_is_no_formula_of_a_spreadsheet(office: Client, ten: Race) -> None:
    Runner.objects.filter(code="r10").update(name="=1+1")
    text = office.get(f"/admin/runners/race/{ten.pk}/accounted.csv").text
    assert ",'=1+1," in text
