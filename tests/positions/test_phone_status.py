"""Changes of a phone's status that are sent to followers."""

from __future__ import annotations

from runners.positions.fix import Fix
from runners.positions.phone_status import EVERY_MS, PhoneStatus


def sent(*phones: tuple[float | None, float | None]) -> list[int]:
    """Return which of these (accuracy, battery) pairs, a minute apart, are sent."""
    phone = PhoneStatus()
    fixes = (
        Fix(60_000 * n, 48.0, 2.0, accuracy=accuracy, battery=battery)
        for n, (accuracy, battery) in enumerate(phones)
    )
    return [n for n, fix in enumerate(fixes) if phone.is_news(fix)]


def test_a_healthy_phone_sends_no_status() -> None:
    assert sent((5, 80), (19, 21), (None, None), (20, 20)) == []


def test_a_battery_status_is_sent_when_low_and_when_charged() -> None:
    assert sent((5, 19.4), (5, 19), (5, 22), (5, 19), (5, 30), (5, 24)) == [0, 4]


def test_a_changed_accuracy_is_sent() -> None:
    assert sent((21, 80), (18, 80), (30, 80), (70, 80), (None, 80)) == [0, 3, 4]
    assert sent((40, 80), (61, 80), (15, 80)) == [0, 1, 2]


def test_the_status_is_sent_at_most_once_per_interval() -> None:
    phone = PhoneStatus()
    times = range(0, 2 * EVERY_MS + 1, 1000)
    accuracies = (100 if n % 2 else 5 for n in range(len(times)))
    fixes = [
        Fix(t, 48.0, 2.0, accuracy=accuracy)
        for t, accuracy in zip(times, accuracies, strict=True)
    ]
    assert len([fix for fix in fixes if phone.is_news(fix)]) == 2
