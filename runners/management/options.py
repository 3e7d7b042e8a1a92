"""Read the values of command-line options."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from django.core.management.base import CommandError
from django.utils.dateparse import parse_date, parse_datetime


def read_moment(option: str, text: str | None, zone: str = "UTC") -> datetime | None:
    """Return an ISO date and time, in the zone unless it has an offset."""
    if text is None:
        return None
    try:
        moment = parse_datetime(text)
        if moment is None and (day := parse_date(text)):
            moment = datetime(day.year, day.month, day.day)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(
            f"{option} {text!r} is not a time. Write it like 2026-05-31T09:00+02:00."
        )
    local = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC)


def read_file(name: str) -> bytes:
    """Return the content of a file; raise CommandError."""
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"Cannot read {name}: {error.strerror}.") from error


def address(text: str) -> tuple[str, int]:
    """Return the host and the port of HOST:PORT."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise ArgumentTypeError(f"{text!r} is not an address like 192.168.1.20:3601")
    return host.strip("[]"), int(port)
