"""Runners with an account accept an entry before a race shows them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from runners.models import Entry, Race, RightsChange, Runner
from runners.rights.access import visible_runners

pytestmark = pytest.mark.django_db


@pytest.fixture
def entry(bob: Runner) -> Entry:
    now = timezone.now()
    bob.visibility = Runner.Visibility.RACE
    bob.save()
    race = Race.objects.create(
        slug="half", name="Riverside Half", start=now, ends=now + timedelta(hours=5)
    )
    return Entry.objects.create(race=race, runner=bob, bib="17", accepted=False)


def is_visible(runner: Runner) -> bool:
    return visible_runners().filter(pk=runner.pk).exists()


def test_an_entry_shows_a_runner_after_they_accept(
    bob_client: Client, bob: Runner, entry: Entry
) -> None:
    page = bob_client.get("/me/").text
    assert "Riverside Half" in page and "Bib 17" in page
    assert not is_visible(bob)

    page_after = bob_client.post(
        f"/me/entries/{entry.pk}/", {"answer": "accept"}, follow=True
    )
    assert "Riverside Half shows you with the bib 17." in page_after.text
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
