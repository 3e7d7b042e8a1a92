"""Calls for help reach the race office and the runner's contacts, with a position."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
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
    SuppressedAddress,
)
from runners.models.news import KINDS, Kind
from runners.models.race_role import Role
from runners.notifying.deliveries import spread
from runners.notifying.mail import CONSOLE
from runners.notifying.notifier import Notifier
from runners.notifying.sos import MAX_NOTIFIED_CALLS, Call, contact_add, sos_store
from runners.notifying.subscribing import (
    address_add,
    address_confirm,
    alerts_set,
    browser_subscribe,
)
from runners.positions.fix import Fix
from runners.positions.retention import prune
from runners.preferences.runner_settings import positions_erase, zone_add
from runners.units.errors import CodedError
from tests.notifying.push import Browser, PushService

pytestmark = pytest.mark.django_db

LAT = 53.34987
LNG = -6.26031


def call(
    key: str = "a", *, fine: bool = False, lat: float | None = LAT, seconds: int = 0
) -> Call:
    now = int(time.time() * 1000) + seconds * 1000
    fix = None if lat is None else Fix(now, lat, LNG, accuracy=8.0, battery=43.0)
    return Call(key=key, called=now, fix=fix, battery=None, fine=fine)


def send_all(notifier: Notifier) -> None:
    while notifier.push_turn() or notifier.mail_turn():
        pass


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
    browser_subscribe(
        push=alices.subscription, user=alice, session="", device="", language="en"
    )
    address_confirm(
        recipient=contact_add(
            runner=bob, email="mum@example.org", user=None, language="en"
        )
    )
    contact_add(runner=bob, email="", user=alice, language="en")
    mailoutbox.clear()
    alerts_set(subscription=subscription, runners=[bob], kinds=[Kind.SOS])
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
    now = timezone.now()
    unasked = Race.objects.create(
        slug="unasked", name="Unasked", start=now, ends=now + timedelta(hours=1)
    )
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
    subscription = browser_subscribe(
        push=alices.subscription, user=alice, session="", device="", language="en"
    )
    alerts_set(subscription=subscription, runners=[entry.runner], kinds=[Kind.SOS])
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
        browser_subscribe(
            push=service.browser(user.username).subscription,
            user=user,
            session="",
            device="",
            language="en",
        )
        address_confirm(
            recipient=contact_add(runner=runner, email=email, user=None, language="en")
        )
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
        alerts_set(subscription=address, runners=[bob], kinds=[Kind.SOS])
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
    browser = browser_subscribe(
        push=service.browser("alice").subscription,
        user=alice,
        session="",
        device="",
        language="en",
    )
    if role == "contact":
        contact_add(runner=bob, email="", user=alice, language="en")
    else:
        alerts_set(subscription=browser, runners=[bob], kinds=[Kind.SOS])
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
    assert notifier.failed == {"rights": 2}


def test_a_repeated_call_only_updates_the_position(
    bob: Runner, subscription: Subscription, service: PushService, notifier: Notifier
) -> None:
    alerts_set(subscription=subscription, runners=[bob], kinds=list(KINDS))
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
    alerts_set(subscription=subscription, runners=[bob], kinds=[Kind.SOS])
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
    alerts_set(subscription=subscription, runners=[bob], kinds=[Kind.SOS])
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
    alerts_set(subscription=subscription, runners=[bob], kinds=[Kind.SOS])
    sos_store(runner=bob.pk, call=call(seconds=-3 * 3600))
    send_all(notifier)
    assert browser.read(service.posts[0].body)["title"] == "Bob calls for help"


def test_further_calls_within_an_hour_reach_the_race_office_only(
    bob: Runner, subscription: Subscription, service: PushService, notifier: Notifier
) -> None:
    alerts_set(subscription=subscription, runners=[bob], kinds=[Kind.SOS])
    for number in range(MAX_NOTIFIED_CALLS + 2):
        sos_store(runner=bob.pk, call=call(str(number)))
    send_all(notifier)
    assert len(service.posts) == MAX_NOTIFIED_CALLS
    assert Sos.objects.open().count() == MAX_NOTIFIED_CALLS + 2


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
    other = Race.objects.create(
        slug="other", name="Other", start=race.start, ends=race.ends
    )
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


# -- contacts


@pytest.fixture
def bobs(bob: Runner, alice: User) -> Client:
    bob.account = User.objects.create_user("bobs-account")
    bob.save()
    bob.followers.create(user=alice, status="accepted")
    client = Client()
    client.force_login(bob.account)
    return client


def path_in(mail: EmailMessage, part: str) -> str:
    """Return the path of the link in a mail that has this part."""
    (url,) = (word for word in str(mail.body).split() if part in word)
    return "/" + url.split("/", 3)[3]


def test_a_contact_is_mailed_calls_only_after_agreeing(
    bobs: Client, bob: Runner, notifier: Notifier, mailoutbox: list[EmailMessage]
) -> None:
    bobs.post("/me/contacts/", {"who": "mum@example.org"})
    assert "has not agreed yet" in bobs.get("/me/").text
    sos_store(runner=bob.pk, call=call("before"))
    send_all(notifier)
    (mail,) = mailoutbox

    page = path_in(mail, "/confirm/")
    assert "if they call for help" in Client().get(page).text
    Client().post(page)
    assert "has not agreed yet" not in bobs.get("/me/").text
    sos_store(runner=bob.pk, call=call("after"))
    send_all(notifier)
    assert [mail.subject for mail in mailoutbox[1:]] == ["Spectate: Call for help"]


def test_an_address_that_stopped_mails_cannot_be_added_again(
    bobs: Client, bob: Runner, alice: User, mailoutbox: list[EmailMessage]
) -> None:
    bobs.post("/me/contacts/", {"who": "mum@example.org"})
    (mail,) = mailoutbox
    page = path_in(mail, "/stop/")
    assert mail.extra_headers["List-Unsubscribe"].endswith(f"{page}>")
    # The link works also if the runner has removed the contact meanwhile.
    bob.contacts.all().delete()
    bobs.post("/me/contacts/", {"who": "MUM@example.org"})

    stranger = Client(enforce_csrf_checks=True)
    assert "mum@example.org" in stranger.get(page).text
    assert bob.contacts.exists()
    answer = stranger.post(page, {"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    assert not bob.contacts.exists()

    mailoutbox.clear()
    refusal = "The owner of this address does not want emails from this server."
    assert refusal in bobs.post("/me/contacts/", {"who": "Mum@example.org"}).text
    with pytest.raises(CodedError, match=refusal):
        address_add(user=alice, email="mum@example.org", language="en")
    assert mailoutbox == [] and not bob.contacts.exists()
    assert "mum" not in str(SuppressedAddress.objects.values().get())


def test_a_stranger_gets_few_mails_of_a_contact_that_comes_and_goes(
    bobs: Client, bob: Runner, mailoutbox: list[EmailMessage]
) -> None:
    """Otherwise repeatedly adding an address sends mails, with any text."""
    bob.name = "Cheap watches at example.com"
    bob.save()
    pages = []
    for _ in range(5):
        pages.append(bobs.post("/me/contacts/", {"who": "Mum@example.org"}).text)
        bob.contacts.all().delete()
    assert [mail.to for mail in mailoutbox] == 2 * [["Mum@example.org"]]
    assert "Too many emails today." in pages[-1]
    assert not any("watches" in mail.subject for mail in mailoutbox)


def test_a_runner_sends_few_mails_to_new_contacts(
    bobs: Client, bob: Runner, mailoutbox: list[EmailMessage]
) -> None:
    for number in range(8):
        bobs.post("/me/contacts/", {"who": f"{number}@example.org"})
        bob.contacts.all().delete()
    assert len(mailoutbox) == 5


def test_a_contact_is_an_accepted_follower_or_an_address(
    bobs: Client, bob: Runner, alice: User
) -> None:
    bobs.post("/me/contacts/", {"who": "alice"})
    assert bob.contacts.get().user == alice
    bob.followers.update(status="blocked")
    for nobody in ("alice", "nobody", "@", ""):
        assert "New contact" in bobs.post("/me/contacts/", {"who": nobody}).text
    contact = bob.contacts.get()
    bobs.post(f"/me/contacts/{contact.pk}/remove/")
    assert not bob.contacts.exists()


def test_a_contact_with_a_deactivated_account_is_shown_as_unreachable(
    bobs: Client, bob: Runner, alice: User, service: PushService
) -> None:
    browser_subscribe(
        push=service.browser().subscription,
        user=alice,
        session="",
        device="",
        language="en",
    )
    contact_add(runner=bob, email="", user=alice, language="en")
    unreached = "has no notifications yet"
    assert unreached not in bobs.get("/me/").text
    alice.is_active = False
    alice.save()
    assert unreached in bobs.get("/me/").text


def test_an_address_is_no_contact_without_mail(
    bobs: Client, bob: Runner, settings: Settings
) -> None:
    settings.EMAIL_BACKEND = CONSOLE
    page = bobs.post("/me/contacts/", {"who": "mum@example.org"})
    assert "This server does not send emails." in page.text
    assert not bob.contacts.exists()


def test_a_mail_that_is_not_sent_adds_no_contact(
    bobs: Client, bob: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = list(connection.savepoint_ids)

    def refuse(message: EmailMessage, fail_silently: bool = False) -> int:
        # A transaction would keep other writers out until the server responds.
        assert connection.savepoint_ids == outside
        raise ConnectionRefusedError

    monkeypatch.setattr(EmailMessage, "send", refuse)
    page = bobs.post("/me/contacts/", {"who": "mum@example.org"})
    assert "The email could not be sent." in page.text
    assert not bob.contacts.exists()


def test_the_number_of_contacts_is_limited(
    bobs: Client, bob: Runner, settings: Settings
) -> None:
    for number in range(6):
        answer = bobs.post("/me/contacts/", {"who": f"{number}@example.org"})
    assert "at most 5 contacts" in answer.text
    assert bob.contacts.count() == 5


def test_old_calls_do_not_count_against_new_ones(
    bob: Runner, subscription: Subscription, service: PushService, notifier: Notifier
) -> None:
    alerts_set(subscription=subscription, runners=[bob], kinds=[Kind.SOS])
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
