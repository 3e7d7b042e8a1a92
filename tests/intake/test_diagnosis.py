"""The diagnosis of a phone names each problem."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from runners.intake.diagnosis import Diagnosis, diagnose
from runners.models import Phone, Runner, RunnerToken
from tests.factories.positions import make_position


@pytest.fixture
def token(db: None) -> RunnerToken:
    bob = Runner.objects.create(code="bob", name="Bob")
    row = RunnerToken.objects.issue(bob, name="OwnTracks")[0]
    row.created_at = timezone.now() - timedelta(hours=1)
    row.save()
    return row


def make_phone(token: RunnerToken, **more: object) -> Phone:
    now = timezone.now()
    values: dict[str, object] = {"app": "OwnTracks", "contact_at": now, "fix_at": now}
    return Phone.objects.create(token=token, **(values | more))


def fixes(
    token: RunnerToken,
    count: int = 5,
    *,
    every: float = 5,
    step: float = 20,
    late: float = 0,
    accuracy: float | None = 5,
) -> None:
    """Store fixes up to now; `every` and `late` in seconds, `step` in metres."""
    now = timezone.now()
    for n in range(count):
        make_position(
            token.runner,
            now - timedelta(seconds=n * every + late),
            lat=53.3566 + n * step / 111_000,
            lng=-6.3285,
            stored_at=now - timedelta(seconds=n * every),
            accuracy=accuracy,
            source="owntracks",
        )


def problems_of(diagnosis: Diagnosis) -> str:
    return " ".join(diagnosis.problems)


def test_a_phone_without_any_request_is_waiting(token: RunnerToken) -> None:
    assert diagnose(token).state == "waiting"


def test_one_fix_is_enough(token: RunnerToken) -> None:
    make_phone(token)
    fixes(token, 1)
    diagnosis = diagnose(token)
    assert (diagnosis.state, diagnosis.problems) == ("ok", [])
    assert ("Accuracy", "5 m") in diagnosis.facts


def test_a_good_track_is_ok(token: RunnerToken) -> None:
    make_phone(token)
    fixes(token, 30)
    assert diagnose(token).state == "ok"


def test_a_heartbeat_alone_does_not_locate_the_phone(token: RunnerToken) -> None:
    make_phone(token, fix_at=None)
    diagnosis = diagnose(token)
    assert diagnosis.state == "waiting"
    assert "Go outside" in problems_of(diagnosis)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"accuracy": 900}, "accurate to 900 m"),
        ({"late": 600}, "was 10 min old when it arrived"),
        ({"step": 0.5, "every": 20}, "has not moved"),
        ({"every": 300, "step": 500}, "only every 300 s"),
    ],
)
def test_each_problem_of_fixes_is_named(
    token: RunnerToken, wrong: dict[str, float], text: str
) -> None:
    make_phone(token)
    fixes(token, **wrong)  # type: ignore[arg-type]
    diagnosis = diagnose(token)
    assert diagnosis.state == "problem"
    assert text in problems_of(diagnosis)


def test_silence_is_named(token: RunnerToken) -> None:
    make_phone(token, contact_at=timezone.now() - timedelta(minutes=7))
    fixes(token)
    assert "Nothing has arrived for 7 min" in problems_of(diagnose(token))


@pytest.mark.parametrize(
    ("reasons", "last", "text"),
    [
        ({"position.future": 3}, "The time is 90 s ahead.", "clock is ahead"),
        ({"message.encrypted": 1}, "Remove the encryption key.", "encryption key"),
    ],
)
def test_refusals_are_named(
    token: RunnerToken, reasons: dict[str, int], last: str, text: str
) -> None:
    make_phone(token, fix_at=None, refused=3, reasons=reasons, last_reason=last)
    diagnosis = diagnose(token)
    assert diagnosis.state == "problem"
    assert text in problems_of(diagnosis)


def test_privacy_refusals_are_no_problem(token: RunnerToken) -> None:
    make_phone(
        token, fix_at=None, refused=3, reasons={"zone.hidden": 3}, last_reason="Zone."
    )
    assert diagnose(token).state == "ok"


def test_an_ended_token_is_named(token: RunnerToken) -> None:
    make_phone(token)
    token.revoke()
    assert "token has ended" in problems_of(diagnose(token))
