from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import check_password
from django.test import Client
from django.utils import timezone

from runners.models import Race, Runner, ShareLink
from runners.models.runner import token_digest
from tests.factories.people import make_link

pytestmark = pytest.mark.django_db

URL = "/admin/runners/sharelink/"
TOMORROW = {"expires_at_0": "2099-01-01", "expires_at_1": "12:00:00"}


def test_a_link_is_shown_exactly_once(office: Client, bob: Runner) -> None:
    data = {"label": "Press", "runners": bob.pk, "secret": "471100"} | TOMORROW
    page = office.post(f"{URL}add/", data)

    found = re.search(r'id="token">http://localhost:8080/s/([^<]+)/<', page.text)
    assert found
    link = ShareLink.objects.get()
    assert link.digest == token_digest(found[1])
    assert list(link.runners.all()) == [bob]
    assert link.created_by is not None
    assert link.created_by.get_username() == "office"
    assert check_password("471100", link.pin)
    assert "no-store" in page.headers["Cache-Control"]
    for later in (URL, f"{URL}{link.pk}/change/"):
        text = office.get(later).text
        assert "Press" in text
        assert found[1] not in text
        assert link.digest not in text
        assert link.pin not in text


def test_a_link_may_show_a_race(office: Client, park: Race) -> None:
    office.post(f"{URL}add/", {"label": "Press", "race": park.pk} | TOMORROW)

    assert ShareLink.objects.get().race == park


def test_a_link_is_to_runners_or_to_a_race(
    office: Client, bob: Runner, park: Race
) -> None:
    for both in ({}, {"runners": bob.pk, "race": park.pk}):
        page = office.post(f"{URL}add/", {"label": "Press"} | TOMORROW | both)
        assert "A link is for runners or for a race, not both." in page.text
    assert not ShareLink.objects.exists()


def test_a_link_is_revoked_from_the_list(office: Client, bob: Runner) -> None:
    link, _ = make_link(bob, label="Press")
    data = {"action": "revoke", "_selected_action": link.pk}
    assert "1 revoked." in office.post(URL, data, follow=True).text
    link.refresh_from_db()
    assert link.revoked_at is not None
    assert "ended before" in office.post(URL, data, follow=True).text
    assert "Press" in office.get(f"{URL}?state=ended").text
    assert "0 share links" in office.get(f"{URL}?state=usable").text


def test_only_the_label_of_a_link_can_be_changed(office: Client, bob: Runner) -> None:
    ends = timezone.now() + timedelta(hours=1)
    link, _ = ShareLink.objects.issue(label="Press", expires_at=ends, runners=[bob])
    office.post(f"{URL}{link.pk}/change/", {"label": "Radio"} | TOMORROW)
    link.refresh_from_db()
    assert (link.label, link.expires_at) == ("Radio", ends)
