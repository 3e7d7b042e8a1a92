"""How much may be published at once, and how soon again."""

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


def test_bucket_says_how_long_to_wait_and_fills_meanwhile(clock: Clock) -> None:
    bucket = Bucket(rate=5, burst=10)
    assert bucket.take(10) == 0
    assert bucket.take(5) == 1
    clock.now += 0.75
    assert bucket.take(5) == 0.25
    clock.now += 0.25
    assert bucket.take(5) == 0
    assert bucket.take(1) == 0.2


def test_bucket_is_never_more_than_full(clock: Clock) -> None:
    bucket = Bucket(rate=5, burst=10)
    clock.now += 60
    assert bucket.take(9) == 0
    assert bucket.take(2) == 0.2


def test_more_than_the_burst_passes_once_the_bucket_is_full(clock: Clock) -> None:
    bucket = Bucket(rate=5, burst=10)
    assert bucket.take(1) == 0
    assert bucket.take(500) == 0.2
    clock.now += 0.25
    assert bucket.take(500) == 0
    assert not bucket.full


def test_what_could_not_be_stored_is_given_back(clock: Clock) -> None:
    bucket = Bucket(rate=5, burst=10)
    bucket.take(10)
    bucket.give_back(4)
    assert bucket.take(4) == 0
    bucket.give_back(40)
    assert bucket.take(11) == 0


def test_keys_have_buckets_of_their_own_while_these_are_not_full(clock: Clock) -> None:
    all_limits = Limits(rate=5, burst=10)
    bucket = all_limits.of(1)
    bucket.take(10)
    assert all_limits.of(1) is bucket
    assert all_limits.of(2).full
