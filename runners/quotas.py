"""Counts in the cache how often something was done, across all processes.

In Redis where there is one; otherwise in this process, which is then the only one.
"""

from __future__ import annotations

import hashlib
import time

from django.core.cache import cache


def over_quota(name: str, most: int, period_s: int) -> bool:
    """Count one more use of a name; return whether these are too many in the period.

    Periods are fixed windows, so that a use costs one increment. Raises
    `redis.RedisError` while Redis is unavailable.
    """
    window = int(time.time()) // period_s
    digest = hashlib.sha256(f"{name} {window}".encode()).hexdigest()
    key = f"quota:{digest}"
    cache.add(key, 0, period_s)
    return cache.incr(key) > most
