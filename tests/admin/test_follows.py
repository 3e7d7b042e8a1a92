from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from runners.models import Follow, Runner

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_(bob: Runner) -> Follow:
    alice = User.objects.create(username="alice")
    return Follow.objects.create(user=alice, runner=bob)


@pytest.mark.parametrize(
    ("action", "status", "message"),
    [("approve", "accepted", "1 approved"), ("refuse", "refused", "1 refused")],
)
def test_requests_are_answered_in_the_list(
    office: Client, request_: Follow, action: str, status: str, message: str
) -> None:
    page = office.post(
        "/admin/runners/follow/",
        {"action": action, "_selected_action": [request_.pk]},
        follow=True,
    )

    assert message in page.text
    request_.refresh_from_db()
    assert request_.status == status


def test_a_blocked_user_stays_blocked(office: Client, request_: Follow) -> None:
    request_.status = Follow.Status.BLOCKED
    request_.save()

    page = office.post(
        "/admin/runners/follow/",
        {"action": "approve", "_selected_action": [request_.pk]},
        follow=True,
    )

    assert "0 approved" in page.text
    request_.refresh_from_db()
    assert request_.status == Follow.Status.BLOCKED


def test_requests_are_filtered_by_status(office: Client, request_: Follow) -> None:
    for status, rows in (("pending", 1), ("accepted", 0)):
        page = office.get(f"/admin/runners/follow/?status__exact={status}")
        assert page.context["cl"].result_count == rows
