"""Counts actions in the cache, across all processes.

The cache is in Redis if there is one, otherwise in this process, which is then the only
one.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from contextlib import suppress
from functools import lru_cache

from django.core.cache import cache


def over_quota(name: str, most: int, period_s: int) -> bool:
    """Count one more use of a name; return whether these are too many in the period.

    Periods are fixed windows, so that a use costs one increment. Raises
    `redis.RedisError` while Redis is unavailable.
    """
    key = _key(name, period_s)
    cache.add(key, 0, period_s)
    return cache.incr(key) > most


def give_back(name: str, period_s: int) -> None:
    """Uncount a use that came to nothing, unless its period is over."""
    with suppress(ValueError):
        cache.decr(_key(name, period_s))


def _key(name: str, period_s: int) -> str:
    window = int(time.time()) // period_s
    digest = hashlib.sha256(f"{name} {window}".encode()).hexdigest()
    return f"quota:{digest}"


@lru_cache(10_000)
def network_of(address: str) -> str:
    """Return an address, of IPv6 its network of 64 bits: anybody can have one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
