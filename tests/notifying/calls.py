"""Calls for help, and sending what they cause."""

from __future__ import annotations

import time

from runners.notifying.notifier import Notifier
from runners.notifying.sos import Call
from runners.positions.fix import Fix

LAT = 53.34987
LNG = -6.26031


def call(
    key: str = "a", *, fine: bool = False, lat: float | None = LAT, seconds: int = 0
) -> Call:
    now = int(time.time() * 1000) + seconds * 1000
    fix = None if lat is None else Fix(now, lat, LNG, accuracy=8.0, battery=43.0)
    return Call(key=key, called=now, fix=fix, battery=None, fine=fine)


def send_all(notifier: Notifier) -> None:
    while notifier.push_turn() or notifier.mail_turn():
        pass
