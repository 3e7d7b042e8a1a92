"""Runners with an account accept an entry before a race shows them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from runners.models import Entry, Race, RightsChange, Runner
from runners.models.race import WINDOW_BEFORE_START
from runners.rights.access import visible_runners
from runners.rights.windows import public_from
from tests.factories.races import make_bare_race

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def entry(bob: Runner) -> Entry:
    now = timezone.now()
    bob.visibility = Runner.Visibility.RACE
    bob.save()
    race = make_bare_race("half", now, hours=5, name="Riverside Half")
    return Entry.objects.create(race=race, runner=bob, bib="17", accepted=False)


def hidden_fields(client: Client) -> dict[str, str]:
    page = client.get("/me/").text
    found = re.findall(r'type="hidden" name="(start|ends)" value="(\d+)"', page)
    return dict(found)


def accept(client: Client, entry: Entry) -> str:
    """Accept an entry with the times of the page; return the next page."""
    fields = {"answer": "accept", **hidden_fields(client)}
    return client.post(f"/me/entries/{entry.pk}/", fields, follow=True).text


def is_visible(runner: Runner) -> bool:
    return visible_runners().filter(pk=runner.pk).exists()


def test_an_entry_shows_a_runner_after_they_accept(
    bob_client: Client, bob: Runner, entry: Entry
) -> None:
    page = bob_client.get("/me/").text
    assert "Riverside Half" in page and "Bib 17" in page
    assert not is_visible(bob)

    assert "Riverside Half shows you with the bib 17." in accept(bob_client, entry)
    assert is_visible(bob)

    RightsChange.objects.all().delete()
    bob_client.post(f"/me/entries/{entry.pk}/", {"answer": "decline"})
    assert not is_visible(bob)
    assert RightsChange.objects.filter(key=bob.pk).exists()


def test_a_past_race_requests_no_answer(bob_client: Client, entry: Entry) -> None:
    now = timezone.now()
    Race.objects.update(start=now - timedelta(hours=9), ends=now - timedelta(hours=1))

    assert "Riverside Half" not in bob_client.get("/me/").text


def test_an_entry_of_a_different_runner_is_not_found(
    client: Client, bob_client: Client, entry: Entry
) -> None:
    eve = Runner.objects.create(code="eve", name="Eve")
    Entry.objects.update(runner=eve)

    url = f"/me/entries/{entry.pk}/"
    assert bob_client.post(url, {"answer": "accept"}).status_code == 404
    assert client.post(url, {"answer": "accept"}).status_code == 302
    entry.refresh_from_db()
    assert not entry.accepted


def test_an_invalid_answer_is_refused(bob_client: Client, entry: Entry) -> None:
    url = f"/me/entries/{entry.pk}/"
    assert bob_client.post(url, {"answer": "perhaps"}).status_code == 404
    assert bob_client.get(url).headers["Location"] == "/me/"


def test_acceptance_opens_nothing_from_before_it(
    bob_client: Client, bob: Runner, entry: Entry
) -> None:
    before = timezone.now()
    accept(bob_client, entry)
    first = public_from([bob.pk])[bob.pk]
    assert first >= before
    # The organiser stretches the race: the runner is asked, and opens only what comes.
    Race.objects.update(start=before - DAY, ends=before + DAY)
    assert public_from([bob.pk]) == {bob.pk: first}
    assert "the times have changed since you accepted" in bob_client.get("/me/").text
    accept(bob_client, entry)
    assert public_from([bob.pk]) == {bob.pk: first}
    entry.refresh_from_db()
    assert entry.shown_until == before + DAY
    assert "the times have changed" not in bob_client.get("/me/").text
    # A runner who declined agrees again from then on.
    bob_client.post(f"/me/entries/{entry.pk}/", {"answer": "decline"})
    accept(bob_client, entry)
    assert public_from([bob.pk])[bob.pk] > first


def test_a_race_that_is_moved_asks_its_runners_again(
    bob_client: Client, bob: Runner, entry: Entry
) -> None:
    tomorrow = timezone.now() + DAY
    Race.objects.update(start=tomorrow, ends=tomorrow + DAY)
    accept(bob_client, entry)
    entry.refresh_from_db()
    assert entry.shown_from == tomorrow - WINDOW_BEFORE_START
    Race.objects.update(start=tomorrow - 3 * WINDOW_BEFORE_START)
    assert "the times have changed" in bob_client.get("/me/").text
    accept(bob_client, entry)
    entry.refresh_from_db()
    assert entry.shown_from == tomorrow - 4 * WINDOW_BEFORE_START


@pytest.mark.parametrize("moved", ["start", "ends"])
def test_times_that_changed_after_the_page_are_shown_before_they_are_accepted(
    bob_client: Client, bob: Runner, entry: Entry, moved: str
) -> None:
    fields = {"answer": "accept", **hidden_fields(bob_client)}
    Race.objects.update(**{moved: getattr(entry.race, moved) + timedelta(minutes=1)})
    url = f"/me/entries/{entry.pk}/"
    page = bob_client.post(url, fields, follow=True).text
    assert "The times of Riverside Half have changed." in page
    assert not is_visible(bob)
    # What was never shown was not agreed to.
    bob_client.post(url, {"answer": "accept"})
    assert not is_visible(bob)
    assert "Riverside Half shows you with the bib 17." in accept(bob_client, entry)
    assert is_visible(bob)
