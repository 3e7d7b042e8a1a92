from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from runners.models import Entry, Phone, Race, RightsChange, Runner, RunnerToken, Wave
from runners.models.race_role import Role
from runners.rights.roles import role_set
from tests.admin.conftest import enter_runners
from tests.factories.positions import make_latest

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(park: Race) -> str:
    return f"/admin/runners/race/{park.pk}/desk"


@pytest.fixture
def charlie() -> Runner:
    return Runner.objects.create(code="18", name="Charlie")


def phone_of(runner: Runner, *, name: str = "phone", **more: Any) -> RunnerToken:
    """Give a runner a phone with current activity."""
    token, _ = RunnerToken.objects.issue(runner, name=name)
    now = timezone.now()
    values = {"app": "Overland", "contact_at": now, "fix_at": now, "accepted": 5}
    Phone.objects.create(token=token, **(values | more))
    return token


@pytest.mark.usefixtures("stopped_clock")
def test_the_desk_shows_each_phone(
    office: Client, park: Race, bob: Runner, charlie: Runner, desk: str
) -> None:
    wave = Wave.objects.create(race=park, name="A", start=park.start)
    Entry.objects.create(race=park, runner=bob, bib="1", wave=wave)
    Entry.objects.create(race=park, runner=charlie, bib="2", status="dnf")
    phone_of(bob, name="old", app="OsmAnd", contact_at=park.start - timedelta(days=1))
    phone_of(
        bob,
        refused=3,
        reasons={"position.future": 3},
        last_reason="It is 2 h ahead.",
        refused_at=park.start,
    )
    make_latest(bob, seconds_ago=12, accuracy=8.0, progress=1200.5)

    answer = office.get(f"{desk}.json").json()

    one, two = answer["entries"]
    assert (one["bib"], one["wave"], one["status"]) == ("1", "A", "registered")
    assert one["app"] == "Overland" and one["phones"] == 2
    assert one["reasons"] == {"position.future": 3}
    assert one["reason"] == "It is 2 h ahead."
    assert answer["time"] - one["fix"] == 12_000
    # Of interest on the map of those who may change the race.
    assert one["place"] == [bob.latest.lng, bob.latest.lat]
    assert "place" not in two
    assert (one["battery"], one["accuracy"], one["progress"]) == (81.6, 8.0, 1200.5)
    assert (two["status"], two["fix"], two["phones"]) == ("dnf", None, 0)
    page = office.get(f"{desk}/").text
    assert f"{desk}.json" in page


def test_a_phone_of_a_runner_without_entry_is_shown(
    office: Client, park: Race, bob: Runner, charlie: Runner, desk: str
) -> None:
    Entry.objects.create(race=park, runner=bob, bib="1")
    phone_of(bob)
    phone_of(charlie)
    phone_of(charlie, name="old", contact_at=timezone.now() - timedelta(days=1))

    (found,) = office.get(f"{desk}.json").json()["unassigned"]

    assert (found["code"], found["token"]) == ("18", "phone")


def test_the_desk_needs_as_many_queries_for_50_entries_as_for_5(
    office: Client, park: Race, desk: str
) -> None:
    counts = []
    for size in (5, 45):
        enter_runners(park, size)
        with CaptureQueriesContext(connection) as captured:
            office.get(f"{desk}.json")
        counts.append(len(captured))

    assert counts[0] == counts[1] < 12
    assert not [q for q in captured if '"runners_race"."line"' in q["sql"]]


def test_a_mark_sets_the_status_of_an_entry(
    office: Client, park: Race, bob: Runner, desk: str
) -> None:
    now = timezone.now()
    entry = Entry.objects.create(
        race=park, runner=bob, bib="1", started_at=now, finished_at=now
    )

    for status, started, finished in (
        ("dnf", True, False),
        ("started", True, False),
        ("dns", False, False),
    ):
        office.post(f"{desk}/mark/", {"entry": entry.pk, "status": status})
        entry.refresh_from_db()
        assert entry.status == status
        assert (entry.started_at is not None) == started
        assert (entry.finished_at is not None) == finished
    assert RightsChange.objects.filter(key=bob.pk).exists()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"entry": "1", "status": "gone"}, 400),
        ({"entry": "x", "status": "dnf"}, 404),
        ({"entry": "999", "status": "dnf"}, 404),
        ({"entry": "9" * 5000, "status": "dnf"}, 404),
    ],
)
def test_an_invalid_mark_is_refused(
    office: Client,
    park: Race,
    bob: Runner,
    desk: str,
    data: dict[str, str],
    code: int,
) -> None:
    Entry.objects.create(pk=1, race=park, runner=bob, bib="1")

    assert office.post(f"{desk}/mark/", data).status_code == code
    assert office.get(f"{desk}/mark/").status_code == 405


def test_a_swap_is_previewed_and_then_done(
    office: Client, park: Race, bob: Runner, charlie: Runner, desk: str
) -> None:
    for bib, runner in (("1", bob), ("2", charlie)):
        Entry.objects.create(race=park, runner=runner, bib=bib)
    bobs, charlies = phone_of(bob), phone_of(charlie)
    revoked = phone_of(bob, name="lost")
    revoked.revoke()

    page = office.get(f"{desk}/swap/", {"first": "1", "second": "2"}).text

    assert "Swap their phones" in page and "Overland" in page
    assert RunnerToken.objects.get(pk=bobs.pk).runner == bob
    page_after = office.post(
        f"{desk}/swap/", {"first": "1", "second": "2"}, follow=True
    )
    assert "Bob now has 1 phone, Charlie 1 phone." in page_after.text
    assert RunnerToken.objects.get(pk=bobs.pk).runner == charlie
    assert RunnerToken.objects.get(pk=charlies.pk).runner == bob
    assert RunnerToken.objects.get(pk=revoked.pk).runner == bob
    recorded = RightsChange.objects.filter(kind=RightsChange.Kind.TOKEN)
    assert {bobs.pk, charlies.pk} <= set(recorded.values_list("key", flat=True))


def test_a_phone_of_a_runner_without_entry_is_assigned_to_a_bib(
    office: Client, park: Race, bob: Runner, charlie: Runner, desk: str
) -> None:
    Entry.objects.create(race=park, runner=bob, bib="1")
    token = phone_of(charlie)

    office.post(f"{desk}/swap/", {"first": "18", "second": "1"})

    token.refresh_from_db()
    assert token.runner == bob


def test_a_phone_of_an_account_without_an_accepted_entry_is_not_swapped(
    office: Client, park: Race, bob: Runner, charlie: Runner, desk: str
) -> None:
    """Otherwise the office could publish as any runner with an account."""
    Entry.objects.create(race=park, runner=bob, bib="1")
    charlie.account = User.objects.create(username="charlie")
    charlie.save()
    token = phone_of(charlie)
    for first in ("18", "2"):
        page = office.post(f"{desk}/swap/", {"first": first, "second": "1"}).text
        assert "their phone stays theirs" in page
        # Entered by the office, and not accepted by the runner.
        entry, _ = Entry.objects.get_or_create(
            race=park, runner=charlie, bib="2", accepted=False
        )
    token.refresh_from_db()
    assert token.runner == charlie

    entry.accepted = True
    entry.save()
    office.post(f"{desk}/swap/", {"first": "2", "second": "1"})
    token.refresh_from_db()
    assert token.runner == bob


def test_a_swap_needs_the_right_to_change_tokens(
    client: Client, park: Race, bob: Runner, charlie: Runner, desk: str
) -> None:
    Entry.objects.create(race=park, runner=bob, bib="1")
    token = phone_of(charlie)
    alice = User.objects.create(username="alice", is_staff=True)
    alice.user_permissions.add(Permission.objects.get(codename="change_race"))
    client.force_login(alice)
    fields = {"first": "18", "second": "1"}

    assert "Swap phones" not in client.get(f"{desk}/").text
    assert client.get(f"{desk}/swap/", fields).status_code == 403
    assert client.post(f"{desk}/swap/", fields).status_code == 403
    token.refresh_from_db()
    assert token.runner == charlie

    alice.user_permissions.add(Permission.objects.get(codename="change_runnertoken"))
    assert "Swap phones" in client.get(f"{desk}/").text
    client.post(f"{desk}/swap/", fields)
    token.refresh_from_db()
    assert token.runner == bob


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("1", "99", "is neither a bib of this race"),
        ("1", "17", "the same runner"),
        ("1", "18", "Neither runner has a phone"),
        ("1", "", "This field is required"),
    ],
)
def test_an_invalid_swap_is_refused_with_a_reason(
    office: Client,
    park: Race,
    bob: Runner,
    charlie: Runner,
    desk: str,
    first: str,
    second: str,
    message: str,
) -> None:
    Entry.objects.create(race=park, runner=bob, bib="1")

    for request in (office.get, office.post):
        assert (
            message in request(f"{desk}/swap/", {"first": first, "second": second}).text
        )


def test_a_role_that_only_reads_changes_nothing(
    client: Client, park: Race, bob: Runner, desk: str
) -> None:
    entry = Entry.objects.create(race=park, runner=bob, bib="1")
    alice = User.objects.create(username="alice", is_staff=True)
    role_set(race=park, user=alice, role=Role.READ)
    client.force_login(alice)

    assert client.get(f"{desk}/").status_code == 200
    marked = client.post(f"{desk}/mark/", {"entry": entry.pk, "status": "dnf"})
    assert marked.status_code == 403
    assert client.get(f"{desk}/swap/").status_code == 403
