"""Calls for help reach the race office and the runner's contacts, with a position."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from runners.models import (
    Delivery,
    Entry,
    News,
    Position,
    Race,
    RaceRole,
    Runner,
    Sos,
    Subscription,
)
from runners.models.news import Kind
from runners.models.race_role import Role
from runners.notifying.deliveries import spread
from runners.notifying.notifier import Notifier
from runners.notifying.sos import MAX_NOTIFIED_CALLS, contact_add, sos_store
from runners.notifying.subscribing import (
    address_add,
    address_confirm,
)
from runners.positions.retention import prune
from runners.preferences.runner_settings import positions_erase, zone_add
from tests.factories.races import make_bare_race
from tests.notifying.calls import LAT, LNG, call, send_all
from tests.notifying.news import alert, mail_contact
from tests.notifying.push import Browser, PushService

pytestmark = pytest.mark.django_db


def test_contacts_receive_the_position_and_followers_do_not(
    subscription: Subscription,
    browser: Browser,
    service: PushService,
    notifier: Notifier,
    entry: Entry,
    alice: User,
    mailoutbox: list[object],
) -> None:
    bob = entry.runner
    alices = service.browser("alice")
    alices.subscribe(alice)
    mail_contact(bob, "mum@example.org")
    contact_add(runner=bob, email="", user=alice, language="en")
    mailoutbox.clear()
    alert(subscription, bob, Kind.SOS)
    # Zones and pauses do not hide the position from contacts.
    zone_add(runner=bob, name="Home", lat=LAT, lng=LNG, radius=500)
    bob.pauses.create(started_at=timezone.now())

    sos_store(runner=bob.pk, call=call())
    send_all(notifier)

    pushed = {post.path: post for post in service.posts}
    assert set(pushed) == {"/push/alice", "/push/bob"}
    with_place = alices.read(pushed["/push/alice"].body)
    assert with_place["title"] == "Bob calls for help"
    assert "53.34987, -6.26031 (± 8 m). Battery 43 %." in with_place["body"]
    assert "mlat=53.34987" in with_place["url"]
    assert pushed["/push/alice"].headers["urgency"] == "high"
    without = browser.read(pushed["/push/bob"].body)
    assert without["title"] == "Bob calls for help"
    assert "53.3" not in str(without) and "6.26" not in str(without)
    (mail,) = mailoutbox
    assert mail.to == ["mum@example.org"]  # type: ignore[attr-defined]
    assert "53.34987, -6.26031" in mail.body  # type: ignore[attr-defined]
    assert not Position.objects.exists()


def test_a_call_is_news_of_the_race_that_the_runner_has_accepted(entry: Entry) -> None:
    """Whoever enters a runner unasked learns of no call, and takes none from others."""
    entry.runner.account = User.objects.create_user("bob")
    entry.runner.save()
    unasked = make_bare_race("unasked")
    Entry.objects.create(race=unasked, runner=entry.runner, bib="1", accepted=False)
    sos_store(runner=entry.runner.pk, call=call())
    assert News.objects.get().entry == entry


def test_a_call_in_a_race_that_was_extended_is_news_of_the_race(entry: Entry) -> None:
    """Help does not wait until the runner accepts the new end."""
    entry.runner.account = User.objects.create_user("bob")
    entry.runner.save()
    now = timezone.now()
    Entry.objects.update(shown_until=now - timedelta(minutes=1))
    Race.objects.update(ends=now + timedelta(hours=1))
    sos_store(runner=entry.runner.pk, call=call())
    assert News.objects.get().entry == entry


def test_a_follower_who_is_a_contact_too_is_notified_once_with_the_position(
    service: PushService, notifier: Notifier, entry: Entry, alice: User
) -> None:
    alices = service.browser("alice")
    subscription = alices.subscribe(alice)
    alert(subscription, entry.runner, Kind.SOS)
    contact_add(runner=entry.runner, email="", user=alice, language="en")
    sos_store(runner=entry.runner.pk, call=call())
    send_all(notifier)
    (post,) = service.posts
    assert "53.34987" in alices.read(post.body)["body"]


def test_a_call_reaches_only_the_contacts_of_its_runner(
    service: PushService,
    notifier: Notifier,
    bob: Runner,
    alice: User,
    mailoutbox: list[EmailMessage],
) -> None:
    dave = Runner.objects.create(code="dave", name="Dave")
    erin = User.objects.create_user("erin")
    for runner, email, user in (
        (bob, "bobs@example.org", alice),
        (dave, "daves@example.org", erin),
    ):
        service.browser(user.username).subscribe(user)
        mail_contact(runner, email)
        contact_add(runner=runner, email="", user=user, language="en")
    mailoutbox.clear()

    sos_store(runner=bob.pk, call=call())
    send_all(notifier)

    assert [mail.to for mail in mailoutbox] == [["bobs@example.org"]]
    assert [post.path for post in service.posts] == ["/push/alice"]


@pytest.mark.parametrize("role", ["contact", "follower"])
def test_a_call_is_mailed_to_confirmed_addresses_only(
    role: str,
    notifier: Notifier,
    bob: Runner,
    alice: User,
    mailoutbox: list[EmailMessage],
) -> None:
    address = address_add(user=alice, email="alice@example.org", language="en")
    if role == "contact":
        contact_add(runner=bob, email="", user=alice, language="en")
    else:
        alert(address, bob, Kind.SOS)
    mailoutbox.clear()

    sos_store(runner=bob.pk, call=call("before"))
    send_all(notifier)
    assert mailoutbox == []

    address_confirm(recipient=address)
    sos_store(runner=bob.pk, call=call("after"))
    send_all(notifier)
    assert [mail.to for mail in mailoutbox] == [["alice@example.org"]]


@pytest.mark.parametrize("role", ["contact", "follower"])
def test_a_call_is_not_sent_to_a_deactivated_account(
    role: str,
    service: PushService,
    notifier: Notifier,
    bob: Runner,
    alice: User,
) -> None:
    browser = service.browser("alice").subscribe(alice)
    if role == "contact":
        contact_add(runner=bob, email="", user=alice, language="en")
    else:
        alert(browser, bob, Kind.SOS)
    # The delivery was queued while the account was active, and is due after its
    # deactivation.
    sos_store(runner=bob.pk, call=call("queued"))
    spread()
    assert Delivery.objects.exists()
    alice.is_active = False
    alice.save()
    sos_store(runner=bob.pk, call=call("later"))
    send_all(notifier)

    assert service.posts == []
    assert not Delivery.objects.exists()
    assert notifier.results.failed == {"rights": 2}


def test_a_repeated_call_only_updates_the_position(
    bob: Runner, subscription: Subscription, service: PushService, notifier: Notifier
) -> None:
    alert(subscription, bob)
    sos_store(runner=bob.pk, call=call(lat=None))
    sos_store(runner=bob.pk, call=call(lat=53.1))
    sos_store(runner=bob.pk, call=call(lat=53.0, seconds=-60))
    send_all(notifier)
    assert Sos.objects.get().lat == 53.1
    assert len(service.posts) == 1


def test_taking_a_call_back_is_sent_to_all_recipients(
    bob: Runner,
    subscription: Subscription,
    browser: Browser,
    service: PushService,
    notifier: Notifier,
) -> None:
    alert(subscription, bob, Kind.SOS)
    sos_store(runner=bob.pk, call=call())
    for _ in range(2):
        sos_store(runner=bob.pk, call=call(fine=True))
    send_all(notifier)
    titles = [browser.read(post.body)["title"] for post in service.posts]
    assert sorted(titles) == ["Bob calls for help", "Bob is fine"]
    assert not Sos.objects.open().exists()


def test_a_call_that_was_taken_back_before_sending_is_not_sent(
    bob: Runner, subscription: Subscription, service: PushService, notifier: Notifier
) -> None:
    alert(subscription, bob, Kind.SOS)
    sos_store(runner=bob.pk, call=call(fine=True))
    send_all(notifier)
    assert service.posts == []
    assert not Sos.objects.open().exists()


def test_a_call_that_arrives_hours_late_is_sent(
    bob: Runner,
    subscription: Subscription,
    browser: Browser,
    service: PushService,
    notifier: Notifier,
) -> None:
    alert(subscription, bob, Kind.SOS)
    sos_store(runner=bob.pk, call=call(seconds=-3 * 3600))
    send_all(notifier)
    assert browser.read(service.posts[0].body)["title"] == "Bob calls for help"


def test_further_calls_within_an_hour_reach_the_race_office_only(
    bob: Runner, subscription: Subscription, service: PushService, notifier: Notifier
) -> None:
    alert(subscription, bob, Kind.SOS)
    for number in range(MAX_NOTIFIED_CALLS + 2):
        sos_store(runner=bob.pk, call=call(str(number)))
    send_all(notifier)
    assert len(service.posts) == MAX_NOTIFIED_CALLS
    assert Sos.objects.open().count() == MAX_NOTIFIED_CALLS + 2


def test_old_calls_do_not_count_against_new_ones(
    bob: Runner, subscription: Subscription, service: PushService, notifier: Notifier
) -> None:
    alert(subscription, bob, Kind.SOS)
    for number in range(MAX_NOTIFIED_CALLS):
        sos_store(runner=bob.pk, call=call(str(number)))
    Sos.objects.update(received_at=timezone.now() - timedelta(hours=2))
    sos_store(runner=bob.pk, call=call("new"))
    send_all(notifier)
    assert len(service.posts) == MAX_NOTIFIED_CALLS + 1


def test_the_position_of_a_call_is_kept_as_long_as_positions(
    bob: Runner, bobs: Client
) -> None:
    now = timezone.now()
    for days, ended in ((40, None), (2, now), (0, None)):
        Sos.objects.create(
            runner=bob,
            key=f"{days}",
            called_at=now - timedelta(days=days),
            lat=53.35,
            lng=-6.26,
            placed_at=now,
            fine_at=ended,
        )
    calls = bobs.get("/me/positions.json").json()["calls_for_help"]
    assert [call["lat"] for call in calls] == [53.35] * 3
    prune(days=30, keep_line=False)
    assert set(Sos.objects.values_list("key", flat=True)) == {"2", "0"}
    positions_erase(runner=bob)
    # An open call keeps its position, for the rescue.
    assert set(Sos.objects.values_list("key", flat=True)) == {"0"}


# -- the desk


@pytest.fixture
def office(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("office"))
    return client


def test_the_desk_shows_open_calls_until_they_are_closed(
    office: Client, race: Race, entry: Entry
) -> None:
    desk = f"/admin/runners/race/{race.pk}/desk"
    assert office.get(f"{desk}.json").json()["sos"] == []
    sos = sos_store(runner=entry.runner.pk, call=call())

    (listed,) = office.get(f"{desk}.json").json()["sos"]
    assert (listed["bib"], listed["name"]) == ("17", "Bob")
    assert (listed["lat"], listed["lng"], listed["battery"]) == (LAT, LNG, 43.0)
    assert listed["seen"] is None

    office.post(f"{desk}/sos/", {"sos": sos.pk, "act": "seen"})
    (listed,) = office.get(f"{desk}.json").json()["sos"]
    assert listed["seen"] and listed["seen_by"] == "office"

    office.post(f"{desk}/sos/", {"sos": sos.pk, "act": "close"})
    assert office.get(f"{desk}.json").json()["sos"] == []


def test_a_runner_in_no_race_cannot_hide_the_calls_of_a_race(
    office: Client, race: Race, entry: Entry
) -> None:
    """Otherwise twenty calls of a runner in no race are twenty rows on each desk."""
    desk = f"/admin/runners/race/{race.pk}/desk"
    stray = Runner.objects.create(code="stray", name="Stray")
    for number in range(20):
        sos_store(runner=stray.pk, call=call(str(number)))
    last = sos_store(runner=stray.pk, call=call("last", lat=None))
    sos_store(runner=entry.runner.pk, call=call())

    bobs, strays = office.get(f"{desk}.json").json()["sos"]

    assert (bobs["name"], strays["name"]) == ("Bob", "Stray")
    # The last call has no position: the previous one is shown.
    assert (strays["id"], strays["lat"], strays["lng"]) == (last.pk, LAT, LNG)
    office.post(f"{desk}/sos/", {"sos": last.pk, "act": "seen"})
    assert not Sos.objects.filter(runner=stray, seen_at=None).exists()
    office.post(f"{desk}/sos/", {"sos": last.pk, "act": "close"})
    assert [sos.runner.name for sos in Sos.objects.open()] == ["Bob"]


def test_a_new_call_is_shown_after_one_that_was_seen(
    office: Client, race: Race, entry: Entry
) -> None:
    desk = f"/admin/runners/race/{race.pk}/desk"
    first = sos_store(runner=entry.runner.pk, call=call("first"))
    office.post(f"{desk}/sos/", {"sos": first.pk, "act": "seen"})
    second = sos_store(runner=entry.runner.pk, call=call("second"))
    # A call that arrived meanwhile is not closed unseen.
    office.post(f"{desk}/sos/", {"sos": first.pk, "act": "close"})

    (shown,) = office.get(f"{desk}.json").json()["sos"]

    assert (shown["id"], shown["seen"]) == (second.pk, None)


def test_a_call_of_a_runner_in_a_different_race_is_on_its_desk_only(
    office: Client, race: Race, entry: Entry, bob: Runner
) -> None:
    other = make_bare_race("other", race.start, ends=race.ends)
    stray = Runner.objects.create(code="stray", name="Stray")
    sos_store(runner=bob.pk, call=call())
    sos_store(runner=stray.pk, call=call())
    names = [
        sorted(
            sos["name"]
            for sos in office.get(f"/admin/runners/race/{pk}/desk.json").json()["sos"]
        )
        for pk in (race.pk, other.pk)
    ]
    # A call of a runner in no race is on every desk.
    assert names == [["Bob", "Stray"], ["Stray"]]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"sos": "1", "act": "dance"}, 400),
        ({"sos": "999", "act": "seen"}, 404),
        ({"sos": "x", "act": "seen"}, 404),
        ({"sos": "9" * 5000, "act": "seen"}, 404),
    ],
)
def test_an_invalid_action_of_the_desk_is_refused(
    office: Client, race: Race, bob: Runner, data: dict[str, str], status: int
) -> None:
    Sos.objects.create(pk=1, runner=bob, key="a", called_at=timezone.now())
    url = f"/admin/runners/race/{race.pk}/desk/sos/"
    assert office.post(url, data).status_code == status
    assert office.get(url).status_code == 405


@pytest.mark.usefixtures("entry")
@pytest.mark.parametrize("act", ["seen", "close"])
def test_view_only_staff_sees_a_call_without_its_position_and_cannot_change_it(
    client: Client, race: Race, bob: Runner, alice: User, act: str
) -> None:
    alice.is_staff = True
    alice.save()
    RaceRole.objects.create(race=race, user=alice, role=Role.READ)
    client.force_login(alice)
    sos = sos_store(runner=bob.pk, call=call())
    desk = f"/admin/runners/race/{race.pk}/desk"

    (shown,) = client.get(f"{desk}.json").json()["sos"]
    assert (shown["name"], shown["lat"], shown["lng"]) == ("Bob", None, None)
    assert client.post(f"{desk}/sos/", {"sos": sos.pk, "act": act}).status_code == 403

    sos.refresh_from_db()
    assert (sos.seen_at, sos.closed_at) == (None, None)


def test_a_call_needs_few_queries(
    bob: Runner, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(12):
        sos_store(runner=bob.pk, call=call())
