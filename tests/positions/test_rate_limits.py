"""Limits of the number of fixes, and the delay after a refusal."""

from __future__ import annotations

import pytest

from runners.positions import rate_limits
from runners.positions.rate_limits import Bucket, Limits
from tests.virtual_time import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_limits, "time", clock)
    return clock


def test_a_bucket_returns_the_delay_and_refills(clock: Clock) -> None:
    bucket = Bucket(rate=5, burst=10)
    assert bucket.take(10) == 0
    assert bucket.take(5) == 1
    clock.now += 0.75
    assert bucket.take(5) == 0.25
    clock.now += 0.25
    assert bucket.take(5) == 0
    assert bucket.take(1) == 0.2


def test_a_bucket_never_exceeds_its_burst(clock: Clock) -> None:
    bucket = Bucket(rate=5, burst=10)
    clock.now += 60
    assert bucket.take(9) == 0
    assert bucket.take(2) == 0.2


def test_a_batch_over_the_burst_passes_when_the_bucket_is_full(clock: Clock) -> None:
    bucket = Bucket(rate=5, burst=10)
    assert bucket.take(1) == 0
    assert bucket.take(500) == 0.2
    clock.now += 0.25
    assert bucket.take(500) == 0
    assert not bucket.full


def test_permits_for_unstored_fixes_are_returned(clock: Clock) -> None:
    bucket = Bucket(rate=5, burst=10)
    bucket.take(10)
    bucket.refund(4)
    assert bucket.take(4) == 0
    bucket.refund(40)
    assert bucket.take(11) == 0


def test_each_key_has_a_separate_bucket(clock: Clock) -> None:
    all_limits = Limits(rate=5, burst=10)
    bucket = all_limits.of(1)
    bucket.take(10)
    assert all_limits.of(1) is bucket
    assert all_limits.of(2).full
