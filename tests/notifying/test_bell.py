"""The bell of a live page: subscribing to alerts by push and by mail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from runners.models import Alert, Follow, Runner, Subscription
from runners.notifying import mail, subscribing
from runners.notifying.subscribing import MAX_BROWSERS, address_add, address_confirm
from runners.notifying.webpush import decode
from runners.positions.storage import StatusChange, write_rows
from runners.quotas import network_of
from runners.units.clock import milliseconds
from tests.factories.people import make_link, signed_in
from tests.notifying.news import NotifiedRace
from tests.notifying.push import Browser, PushService

pytestmark = pytest.mark.django_db


def choose(client: Client, **choice: Any) -> Any:
    headers = choice.pop("headers", {})
    return client.post(
        "/notifications/",
        json.dumps(choice),
        content_type="application/json",
        headers=headers,
    )


@pytest.fixture
def alice_client(alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def push(browser: Browser) -> dict[str, Any]:
    return browser.subscription


def test_a_browser_without_an_account_chooses_changes_and_stops(
    client: Client, bob: Runner, push: dict[str, Any]
) -> None:
    on = {"push": push, "browser": True, "runners": ["bob"]}
    assert choose(client, **on, kinds=["start", "sos", "dance"]).json() == {
        "push": {"bob": ["start", "sos"]},
        "mail": {},
    }
    assert choose(client, **on, kinds=["finish"]).json()["push"] == {"bob": ["finish"]}
    # A page that is opened later gets the current choice.
    assert choose(client, push=push).json()["push"] == {"bob": ["finish"]}
    assert choose(client, **on, kinds=[]).json()["push"] == {}
    assert not Alert.objects.exists()


def test_the_page_receives_the_key_and_the_kinds(
    client: Client, alice_client: Client
) -> None:
    state = client.get("/notifications/bell.json")
    assert "no-store" in state["Cache-Control"]
    body = state.json()
    assert len(decode(body["key"])) == 65
    assert ["checkpoint", "Checkpoints"] in body["kinds"]
    assert [kind for kind, _ in body["kinds"]] == [
        *("start", "checkpoint", "finish", "silence", "sos")
    ]
    assert (body["signedIn"], body["mail"]) == (False, None)
    assert alice_client.get("/notifications/bell.json").json()["signedIn"] is True


@pytest.mark.parametrize("visibility", ["private", "followers", "race"])
def test_hidden_runners_are_unknown(
    client: Client, bob: Runner, push: dict[str, Any], visibility: str
) -> None:
    bob.visibility = visibility
    bob.save()
    for code in ("bob", "nobody"):
        answer = choose(
            client, push=push, browser=True, runners=[code], kinds=["start"]
        )
        assert answer.status_code == 404
        assert answer.json()["code"] == "runner.unknown"
    assert not Alert.objects.exists()


def test_an_accepted_follower_may_subscribe(
    alice_client: Client, alice: User, bob: Runner, push: dict[str, Any]
) -> None:
    bob.visibility = Runner.Visibility.FOLLOWERS
    bob.save()
    on = {"push": push, "browser": True, "runners": ["bob"], "kinds": ["start"]}
    assert choose(alice_client, **on).status_code == 404
    Follow.objects.create(user=alice, runner=bob, status="accepted")
    assert choose(alice_client, **on).json()["push"] == {"bob": ["start"]}


# The view reads the link in a separate thread, which sees committed rows only.
@pytest.mark.django_db(transaction=True)
def test_an_alert_depends_on_a_link_only_without_a_different_right(
    client: Client, bob: Runner, push: dict[str, Any]
) -> None:
    link, plain = make_link(bob, pin="4738")
    on = {"push": push, "browser": True, "runners": ["bob"], "kinds": ["start"]}
    shared = {"spectate-share": plain, "spectate-share-pin": "4738"}
    choose(client, **on, headers=shared)
    assert Alert.objects.get().link is None
    bob.visibility = Runner.Visibility.PRIVATE
    bob.save()
    assert choose(client, **on, headers={"spectate-share": plain}).status_code != 200
    choose(client, **on, headers=shared)
    assert Alert.objects.get().link == link


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "https://127.0.0.1/push"},
        {"endpoint": "https://[::1]/push"},
        {"endpoint": "http://push.example.org/1"},
        {"keys": {}},
        {"keys": None},
        {"keys": {"p256dh": "AAAA", "auth": "c2l4dGVlbiBieXRlcyEhIQ"}},
    ],
)
def test_an_invalid_push_subscription_is_refused(
    client: Client,
    bob: Runner,
    push: dict[str, Any],
    settings: Any,
    wrong: dict[str, Any],
) -> None:
    # The setting outside of tests.
    settings.SPECTATE_PUSH_LOCAL = False
    push = push | {"endpoint": "https://push.example.org/1"} | wrong
    answer = choose(client, push=push, browser=True, runners=["bob"], kinds=["start"])
    assert (answer.status_code, answer.json()["code"]) == (400, "push.invalid")
    assert not Subscription.objects.exists()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "message.invalid"),
        (b"[]", "message.invalid"),
        (b'{"runners": "bob"}', "message.invalid"),
        (b'{"runners": [1]}', "message.invalid"),
        (b'{"runners": ["\\u0000"]}', "message.invalid"),
        (b'{"runners": ["bob"], "kinds": {}}', "message.invalid"),
        (json.dumps({"runners": ["x"] * 101}).encode(), "alerts.limit"),
        (json.dumps({"runners": ["x" * 20_000]}).encode(), "message.too_big"),
    ],
)
def test_an_invalid_request_is_refused(client: Client, body: bytes, code: str) -> None:
    answer = client.post("/notifications/", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_different_site_cannot_choose_for_a_visitor(
    alice: User, push: dict[str, Any]
) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert choose(strict, push=push).status_code == 403
    csrf = strict.get("/notifications/bell.json").json()["csrf"]
    assert choose(strict, push=push, headers={"x-csrftoken": csrf}).status_code == 200


def test_signing_out_ends_the_subscription(
    alice_client: Client, bob: Runner, push: dict[str, Any]
) -> None:
    on = {"push": push, "browser": True, "runners": ["bob"], "kinds": ["start"]}
    choose(alice_client, **on)
    assert Alert.objects.exists()
    alice_client.post("/sign-out/")
    assert not Subscription.objects.exists()


def test_a_browser_belongs_to_its_latest_account(
    client: Client, alice_client: Client, alice: User, bob: Runner, push: dict[str, Any]
) -> None:
    on = {"push": push, "browser": True, "runners": ["bob"], "kinds": ["start"]}
    choose(alice_client, **on)
    assert choose(client, push=push).json()["push"] == {}
    choose(client, **on)
    (subscription,) = Subscription.objects.all()
    assert subscription.user is None
    # The endpoint alone gives no access without the browser's secret.
    other = push | {"keys": push["keys"] | {"auth": "b3RoZXIgc2l4dGVlbiBiIQ"}}
    assert choose(client, push=other).json()["push"] == {}


def test_the_browsers_of_an_account_are_limited(
    alice_client: Client, bob: Runner, service: Any
) -> None:
    on = {"browser": True, "runners": ["bob"], "kinds": ["start"]}
    for number in range(MAX_BROWSERS):
        push = service.browser(str(number)).subscription
        assert choose(alice_client, push=push, **on).status_code == 200
    push = service.browser("more").subscription
    assert choose(alice_client, push=push, **on).json()["code"] == "push.limit"


def test_the_alerts_of_a_subscription_are_limited(
    client: Client, push: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribing, "MAX_ALERTS", 2)
    for number in range(3):
        Runner.objects.create(code=f"r{number}", name="R")
    on = {"push": push, "browser": True, "kinds": ["start"]}
    assert choose(client, **on, runners=["r0", "r1"]).status_code == 200
    assert choose(client, **on, runners=["r2"]).json()["code"] == "alerts.limit"
    assert Alert.objects.count() == 2


def test_browsers_without_an_account_are_limited_for_each_network(
    bob: Runner, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribing, "MAX_NEW_OF_NETWORK", 2)

    def subscribe(number: int, address: str) -> str:
        on = {
            "push": service.browser(f"b{number}").subscription,
            "browser": True,
            "runners": ["bob"],
            "kinds": ["start"],
        }
        answer = choose(Client(REMOTE_ADDR=address), **on)
        return str(answer.json().get("code", "ok"))

    networks = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"]
    codes = [subscribe(number, address) for number, address in enumerate(networks)]
    assert codes == ["ok", "ok", "rate.limited", "ok"]
    # A known browser can still change its choice.
    assert subscribe(0, "2001:db8::9") == "ok"


def test_ipv4_addresses_written_as_ipv6_are_different_networks() -> None:
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"


# -- mail


def confirmed(alice: User) -> Subscription:
    subscription = address_add(user=alice, email="alice@example.org", language="en")
    address_confirm(recipient=subscription)
    return subscription


def test_an_address_is_used_after_its_owner_confirms_it(
    alice_client: Client,
    alice: User,
    bob: Runner,
    mailoutbox: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alice_client.post("/me/notifications/mail/", {"email": "alice@example.org"})
    (message,) = mailoutbox
    assert message.to == ["alice@example.org"]
    assert alice_client.get("/notifications/bell.json").json()["mail"] is None
    on = {"mail": True, "runners": ["bob"], "kinds": ["start"]}
    assert choose(alice_client, **on).json()["mail"] == {}

    link = message.body.partition("/notifications/confirm/")[2].split()[0]
    stranger = Client()
    page = stranger.get(f"/notifications/confirm/{link}")
    assert "Is alice@example.org yours?" in page.text
    with monkeypatch.context() as later:
        later.setattr(mail, "CONFIRM_WITHIN_S", -1)
        assert stranger.post(f"/notifications/confirm/{link}").status_code == 404
    assert Subscription.objects.get().confirmed_at is None
    stranger.post(f"/notifications/confirm/{link}")
    state = alice_client.get("/notifications/bell.json").json()
    assert state["mail"] == "alice@example.org"
    assert choose(alice_client, **on).json()["mail"] == {"bob": ["start"]}


def test_mails_are_stopped_with_one_click_without_signing_in(
    alice: User, bob: Runner, notified: NotifiedRace, mailoutbox: list[Any]
) -> None:
    subscription = confirmed(alice)
    mailoutbox.clear()
    subscription.alerts.create(runner=bob, start=True)
    now = milliseconds(timezone.now())
    write_rows((), [StatusChange(notified.entry.pk, "started", now, None)])
    notified.notifier.push_turn()
    notified.notifier.mail_turn()
    (mail,) = mailoutbox
    assert mail.subject == "Spectate: Start"
    assert "Bob has started" in mail.body
    assert "/runners/bob/" in mail.body
    assert mail.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    url = mail.extra_headers["List-Unsubscribe"].strip("<>")
    assert url in mail.body
    path = "/" + url.split("/", 3)[3]

    strict = Client(enforce_csrf_checks=True)
    # A program that follows links stops nothing.
    assert "Stop all emails?" in strict.get(path).text
    assert Subscription.objects.exists()
    assert strict.post(path).status_code == 200
    assert not Subscription.objects.exists()


@pytest.mark.parametrize("kind", ["stop", "confirm"])
def test_an_incomplete_link_does_nothing(
    client: Client, alice: User, kind: str
) -> None:
    confirmed(alice)
    row = Subscription.objects.get()
    # Each link is good for its own purpose only.
    other = {"stop": mail.confirm_url(row), "confirm": mail.stop_url("a@b.example")}
    signature = other[kind].rstrip("/").rpartition("/")[2]
    for signed in ("x", '["subscription",1]:sig', signature):
        assert client.post(f"/notifications/{kind}/{signed}/").status_code == 404
    assert Subscription.objects.exists()


# -- the page


def test_the_page_lists_and_stops_own_alerts(
    alice_client: Client, alice: User, bob: Runner, push: dict[str, Any]
) -> None:
    on = {"push": push, "browser": True, "runners": ["bob"], "kinds": ["start"]}
    choose(alice_client, **on, device="Firefox, Android")
    page = alice_client.get("/me/notifications/").text
    assert "Firefox, Android" in page and "Bob" in page
    alert = Alert.objects.get()

    charlie = signed_in(User.objects.create_user("charlie"))
    for path in (f"alerts/{alert.pk}/stop", f"{alert.subscription_id}/stop"):
        assert charlie.post(f"/me/notifications/{path}/").status_code == 404
        assert Client().post(f"/me/notifications/{path}/").status_code == 302
    assert "Bob" not in charlie.get("/me/notifications/").text

    alice_client.post(f"/me/notifications/alerts/{alert.pk}/stop/")
    assert not Alert.objects.exists()
    alice_client.post(f"/me/notifications/{alert.subscription_id}/stop/")
    assert not Subscription.objects.exists()
