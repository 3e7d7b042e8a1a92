"""The runner's own page, which changes the data of that runner only."""

from __future__ import annotations

import re
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from runners.models import (
    Entry,
    Follow,
    LatestPosition,
    Position,
    RightsChange,
    Runner,
    RunnerToken,
    ShareLink,
    Zone,
)
from runners.preferences import runner_settings
from runners.preferences.runner_settings import sharing_pause, zone_add
from runners.views.me.forms import HOMES_FOUND
from tests.factories.people import make_link
from tests.factories.positions import make_latest, make_position
from tests.factories.races import make_bare_race

Status = Follow.Status
FORMS = [
    *("visibility", "pause", "resume", "until", "cheers", "tokens", "links", "zones"),
    "erase",
    "delete",
]


@pytest.fixture
def stored_positions(bob: Runner) -> None:
    """Store two positions of Bob."""
    for seconds in (20, 10):
        make_position(bob, seconds_ago=seconds)
    make_latest(bob)


def rights_changes() -> int:
    return RightsChange.objects.count()


# -- permissions


@pytest.mark.parametrize("form", FORMS)
def test_forms_redirect_strangers_to_the_sign_in(
    client: Client, db: None, form: str
) -> None:
    assert client.post(f"/me/{form}/").headers["Location"] == "/sign-in/?next=/me/"


@pytest.mark.parametrize("form", FORMS)
def test_forms_redirect_users_without_a_runner(
    alice_client: Client, bob: Runner, form: str
) -> None:
    assert alice_client.post(f"/me/{form}/").headers["Location"] == "/me/new/"


@pytest.mark.parametrize("form", FORMS)
def test_forms_need_a_post_and_a_csrf_token(
    bob_client: Client, bobs_account: User, form: str
) -> None:
    # The reload of a form with errors returns to the page.
    assert bob_client.get(f"/me/{form}/").headers["Location"] == "/me/"
    assert bob_client.put(f"/me/{form}/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(bobs_account)
    assert strict.post(f"/me/{form}/").status_code == 403


def test_the_first_field_with_an_error_has_the_focus(bob_client: Client) -> None:
    page = bob_client.post("/me/zones/", {"name": "Home", "lat": "91", "lng": "x"})
    focused = re.findall(r'name="(\w+)"[^>]*autofocus', page.content.decode())
    assert focused == ["lat"]
    assert "autofocus" not in bob_client.get("/me/").content.decode()


def test_the_page_shows_own_data_only(
    bob_client: Client, charlie_client: Client, runner_charlie: Runner, bob: Runner
) -> None:
    RunnerToken.objects.issue(bob, name="Bob's watch")
    zone_add(runner=bob, name="Bob's home", lat=53.0, lng=-6.0, radius=300)
    assert "watch" in bob_client.get("/me/").content.decode()
    html = charlie_client.get("/me/").content.decode()
    assert "Bob" not in html


@pytest.mark.usefixtures("runner_charlie")
def test_bobs_data_is_unknown_to_charlie(
    charlie_client: Client, alice: User, bob: Runner
) -> None:
    token, _ = RunnerToken.objects.issue(bob, name="Watch")
    link, _ = make_link(bob)
    zone = zone_add(runner=bob, name="Home", lat=53.0, lng=-6.0, radius=300)
    follow = Follow.objects.create(user=alice, runner=bob)
    for form in (
        f"tokens/{token.pk}/revoke",
        f"links/{link.pk}/revoke",
        f"zones/{zone.pk}/remove",
        f"followers/{follow.pk}",
    ):
        data = {"answer": "accept"}
        assert charlie_client.post(f"/me/{form}/", data).status_code == 404
        unknown = f"/me/{form.replace(str(zone.pk), '999')}/"
        assert charlie_client.post(unknown, data).status_code == 404
    token.refresh_from_db()
    link.refresh_from_db()
    follow.refresh_from_db()
    assert (token.revoked_at, link.revoked_at) == (None, None)
    assert follow.status == Status.PENDING
    assert Zone.objects.exists()


# -- sharing


def test_a_changed_visibility_is_recorded(bob_client: Client, bob: Runner) -> None:
    before = rights_changes()
    bob_client.post("/me/visibility/", {"visibility": "private"})
    bob.refresh_from_db()
    assert bob.visibility == Runner.Visibility.PRIVATE
    assert rights_changes() > before


def test_visibility_in_races_is_offered_to_entered_runners(
    bob_client: Client, bob: Runner
) -> None:
    assert "only during my races" not in bob_client.get("/me/").content.decode()
    start = timezone.now()
    race = make_bare_race("half", start)
    Entry.objects.create(race=race, runner=bob, bib="17")
    assert "only during my races" in bob_client.get("/me/").content.decode()
    bob_client.post("/me/visibility/", {"visibility": "race"})
    assert "one hour before its start" in bob_client.get("/me/").content.decode()


def test_sharing_is_paused_and_resumed_with_one_tap(
    bob_client: Client, bob: Runner
) -> None:
    bob_client.post("/me/pause/")
    assert bob.pauses.filter(ended_at=None).count() == 1
    assert "Paused" in bob_client.get("/me/").content.decode()
    bob_client.post("/me/resume/")
    assert not bob.pauses.filter(ended_at=None).exists()


def test_ended_sharing_resumes_with_one_tap(bob_client: Client, bob: Runner) -> None:
    bob.sharing_ends_at = timezone.now() - timedelta(minutes=1)
    bob.save()
    assert "Share again" in bob_client.get("/me/").content.decode()
    bob_client.post("/me/resume/")
    bob.refresh_from_db()
    assert bob.sharing_ends_at is None


@pytest.mark.parametrize(("lasts", "hours"), [("1", 1), ("6", 6)])
def test_sharing_ends_automatically(
    bob_client: Client, bob: Runner, lasts: str, hours: int
) -> None:
    before = timezone.now()
    bob_client.post("/me/until/", {"lasts": lasts})
    after = timezone.now()
    bob.refresh_from_db()
    assert bob.sharing_ends_at is not None
    assert before <= bob.sharing_ends_at - timedelta(hours=hours) <= after
    bob_client.post("/me/until/", {"lasts": "never"})
    bob.refresh_from_db()
    assert bob.sharing_ends_at is None


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "Nowhere/At all", ""])
def test_sharing_today_ends_at_the_runners_midnight(
    bob_client: Client, bob: Runner, zone: str
) -> None:
    before = timezone.now()
    bob_client.post("/me/until/", {"lasts": "today", "zone": zone})
    bob.refresh_from_db()
    assert bob.sharing_ends_at is not None
    here = bob.sharing_ends_at.astimezone(
        ZoneInfo(zone if zone.startswith("Pacific") else "UTC")
    )
    assert (here.hour, here.minute) == (0, 0)
    assert before < bob.sharing_ends_at < before + timedelta(hours=25)


def test_an_invalid_end_of_sharing_changes_nothing(
    bob_client: Client, bob: Runner
) -> None:
    bob_client.post("/me/until/", {"lasts": "-1"})
    assert "Nothing was changed" in bob_client.get("/me/").content.decode()


# -- followers


@pytest.mark.parametrize(
    ("answer", "status"),
    [("accept", "accepted"), ("refuse", "refused"), ("block", "blocked")],
)
def test_an_answered_request_is_recorded(
    bob_client: Client, alice: User, bob: Runner, answer: str, status: str
) -> None:
    follow = Follow.objects.create(user=alice, runner=bob)
    assert "alice" in bob_client.get("/me/").content.decode()
    before = rights_changes()
    bob_client.post(f"/me/followers/{follow.pk}/", {"answer": answer})
    follow.refresh_from_db()
    assert follow.status == status
    assert rights_changes() == before + 1


def test_a_removed_follower_is_recorded(
    bob_client: Client, alice: User, bob: Runner
) -> None:
    follow = Follow.objects.create(user=alice, runner=bob, status=Status.ACCEPTED)
    before = rights_changes()
    bob_client.post(f"/me/followers/{follow.pk}/", {"answer": "remove"})
    assert not Follow.objects.exists()
    assert rights_changes() == before + 1


def test_an_invalid_answer_changes_nothing(
    bob_client: Client, alice: User, bob: Runner
) -> None:
    follow = Follow.objects.create(user=alice, runner=bob)
    url = f"/me/followers/{follow.pk}/"
    assert bob_client.post(url, {"answer": "marry"}).status_code == 404


# -- tokens and links


def test_a_token_is_shown_once_and_can_be_revoked(
    bob_client: Client, bob: Runner
) -> None:
    response = bob_client.post("/me/tokens/", {"name": "Watch"})
    token = bob.tokens.get()
    plain = response.context["plain"]
    assert plain in response.content.decode()
    assert "no-store" in response.headers["Cache-Control"]
    html = bob_client.get("/me/").content.decode()
    assert "Watch" in html
    assert plain not in html
    assert token.digest not in html
    bob_client.post(f"/me/tokens/{token.pk}/revoke/")
    assert not RunnerToken.objects.usable().exists()


def test_a_token_needs_a_name(bob_client: Client) -> None:
    html = bob_client.post("/me/tokens/", {"name": ""}).content.decode()
    assert 'role="alert"' in html
    assert not RunnerToken.objects.exists()


def test_a_link_is_shown_once_and_can_be_revoked(
    bob_client: Client, bobs_account: User, bob: Runner
) -> None:
    before = timezone.now()
    response = bob_client.post(
        "/me/links/", {"label": "Mum", "lasts": "168", "pin": "471100"}
    )
    after = timezone.now()
    link = ShareLink.objects.get()
    assert list(link.runners.all()) == [bob]
    assert link.created_by == bobs_account
    assert check_password("471100", link.pin)
    assert before <= link.expires_at - timedelta(days=7) <= after
    url = response.context["url"]
    assert url in response.content.decode()
    html = bob_client.get("/me/").content.decode()
    assert "Mum" in html
    assert url.split("/s/")[1] not in html
    bob_client.post(f"/me/links/{link.pk}/revoke/")
    assert not ShareLink.objects.usable().exists()


def test_a_link_can_last_until_the_race_ends(bob_client: Client, bob: Runner) -> None:
    data = {"label": "Mum", "lasts": "race"}
    assert 'role="alert"' in bob_client.post("/me/links/", data).content.decode()
    start = timezone.now()
    race = make_bare_race("half", start)
    Entry.objects.create(race=race, runner=bob, bib="17")
    bob_client.post("/me/links/", data)
    assert ShareLink.objects.get().expires_at == race.ends


@pytest.mark.parametrize("pin", ["47110", "abcdef", "1" * 13])
def test_a_link_refuses_an_invalid_pin(bob_client: Client, pin: str) -> None:
    response = bob_client.post("/me/links/", {"label": "Mum", "lasts": "1", "pin": pin})
    assert "Use 6 to 12 digits." in response.content.decode()
    assert not ShareLink.objects.exists()


# -- zones


@pytest.mark.usefixtures("stored_positions")
def test_a_zone_deletes_stored_positions(bob_client: Client, bob: Runner) -> None:
    circle = {"name": "Home", "lat": "53.3566", "lng": "-6.3285", "radius": "300"}
    bob_client.post("/me/zones/", circle)
    zone = Zone.objects.get(runner=bob)
    assert not Position.objects.exists()
    assert not LatestPosition.objects.exists()
    assert RightsChange.objects.filter(key=bob.pk, erased=True).exists()
    before = rights_changes()
    bob_client.post(f"/me/zones/{zone.pk}/remove/")
    assert not Zone.objects.exists()
    assert rights_changes() > before


def test_the_page_states_what_a_zone_of_the_usual_radius_withstands(
    bob_client: Client,
) -> None:
    html = bob_client.get("/me/").text
    shown = re.findall(r'data-zone-radius="(\d+)">([^<]*)<', html)
    assert [radius for radius, _ in shown] == ["300"]
    found, rounds = HOMES_FOUND[300]
    text = shown[0][1]
    assert text.startswith("A radius of 300 m hides 1200 to 2400 m in each direction:")
    assert f"found {found} of 100 simulated homes" in text
    assert f"and {rounds} of 100 from two rounds" in text
    # The others, for other radii, are shown by a script.
    assert html.count("data-zone-radius=") == len(HOMES_FOUND)


@pytest.mark.parametrize(
    "wrong", [{"lat": "91"}, {"lng": "nan"}, {"radius": "50"}, {"radius": "6000"}]
)
def test_a_zone_refuses_an_invalid_circle(
    bob_client: Client, wrong: dict[str, str]
) -> None:
    circle = {"name": "Home", "lat": "53.35", "lng": "-6.33", "radius": "300"}
    html = bob_client.post("/me/zones/", circle | wrong).content.decode()
    assert 'role="alert"' in html
    assert not Zone.objects.exists()


def test_the_number_of_zones_is_limited(bob_client: Client, bob: Runner) -> None:
    for number in range(20):
        zone_add(runner=bob, name=str(number), lat=number, lng=0, radius=100)
    circle = {"name": "Home", "lat": "53.35", "lng": "-6.33", "radius": "300"}
    html = bob_client.post("/me/zones/", circle).content.decode()
    assert "at most 20 zones" in html
    assert Zone.objects.count() == 20


# -- data


@pytest.mark.usefixtures("stored_positions")
def test_positions_can_be_downloaded(
    bob_client: Client, charlie_client: Client, runner_charlie: Runner
) -> None:
    rows = bob_client.get("/me/positions.json").json()["positions"]
    assert [row["lat"] for row in rows] == [53.3566, 53.3566]
    assert re.fullmatch(r"[-\d]+T[:\d]+(\.\d{3})?Z", rows[0]["recorded_at"])
    gpx = bob_client.get("/me/positions.gpx")
    assert gpx.content.decode().count("<trkpt") == 2
    assert gpx.headers["Content-Disposition"] == 'attachment; filename="bob.gpx"'
    assert charlie_client.get("/me/positions.json").json()["positions"] == []
    assert "<trkpt" not in charlie_client.get("/me/positions.gpx").content.decode()


@pytest.mark.usefixtures("stored_positions")
def test_erasing_needs_the_code_typed(bob_client: Client, bob: Runner) -> None:
    html = bob_client.post("/me/erase/", {"confirm": "Bob"}).content.decode()
    assert "Nothing was deleted." in html
    assert Position.objects.count() == 2
    bob_client.post("/me/erase/", {"confirm": "bob"})
    assert not Position.objects.exists()
    assert not LatestPosition.objects.exists()
    assert RightsChange.objects.filter(key=bob.pk, erased=True).exists()


@pytest.mark.usefixtures("stored_positions")
def test_a_runner_is_deleted_with_their_links(
    bob_client: Client, bobs_account: User, bob: Runner, runner_charlie: Runner
) -> None:
    ends = timezone.now() + timedelta(hours=1)
    ShareLink.objects.issue(label="Mum", expires_at=ends, runners=[bob])
    ShareLink.objects.issue(
        label="Both", expires_at=ends, runners=[bob, runner_charlie]
    )
    bob_client.post("/me/delete/", {"confirm": "wrong"})
    assert Runner.objects.filter(code="bob").exists()
    response = bob_client.post("/me/delete/", {"confirm": "bob"})
    assert response.headers["Location"] == "/me/new/"
    assert not Runner.objects.filter(code="bob").exists()
    assert not Position.objects.exists()
    assert [link.label for link in ShareLink.objects.all()] == ["Both"]
    assert User.objects.filter(pk=bobs_account.pk).exists()


def test_an_account_is_deleted_with_its_runner(
    bob_client: Client, bobs_account: User, bob: Runner
) -> None:
    url = "/me/account/delete/"
    assert "Nothing was deleted." in bob_client.post(url).content.decode()
    html = bob_client.post(url, {"confirm": "bobs-account"}).content.decode()
    assert "Your account is deleted" in html
    assert not User.objects.filter(pk=bobs_account.pk).exists()
    assert not Runner.objects.exists()
    assert bob_client.get("/me/").status_code == 302


def test_an_account_without_a_runner_can_be_deleted(
    alice: User, alice_client: Client, client: Client
) -> None:
    url = "/me/account/delete/"
    assert client.get(url).status_code == 302
    assert "alice" in alice_client.get(url).content.decode()
    alice_client.post(url, {"confirm": "alice"})
    assert not User.objects.exists()


def test_the_page_shows_when_sharing_was_paused(
    bob_client: Client, bob: Runner
) -> None:
    sharing_pause(runner=bob)
    html = bob_client.get("/me/").content.decode()
    started = bob.pauses.get().started_at
    assert f'datetime="{started.isoformat()}"' in html


def test_a_runner_has_a_limited_number_of_phones(
    bob_client: Client, bob: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_settings, "MAX_TOKENS", 2)
    for name in ("one", "two"):
        bob_client.post("/me/tokens/", {"name": name})
    page = bob_client.post("/me/tokens/", {"name": "three"})
    assert "at most 2 phones" in page.text
    assert (
        "at most 2 phones"
        in bob_client.post("/runners/bob/phones/", {"app": "owntracks"}).text
    )
    answer = bob_client.post("/share/token/")
    assert (answer.status_code, answer.json()["code"]) == (429, "rate.limited")
    bob.tokens.get(name="one").revoke()
    bob_client.post("/me/tokens/", {"name": "four"})
    assert bob.tokens.usable().count() == 2


def test_new_phones_of_a_runner_are_limited_per_hour(
    bob_client: Client, bob: Runner
) -> None:
    for _ in range(runner_settings.MAX_TOKENS_PER_HOUR + 1):
        page = bob_client.post("/me/tokens/", {"name": "phone"})
        bob.tokens.update(revoked_at=timezone.now())
    assert "Too many new phones" in page.text
    assert bob.tokens.count() == runner_settings.MAX_TOKENS_PER_HOUR
