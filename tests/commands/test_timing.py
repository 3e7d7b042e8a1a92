"""`timing` refuses wrong options in one line; tests/timing/ has its connections."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from runners.models import Race
from tests.races.field import make_race

pytestmark = pytest.mark.django_db


def test_the_race_has_to_exist_and_to_have_checkpoints() -> None:
    with pytest.raises(CommandError, match="There is no race x."):
        call_command("timing", "mylaps", "--race", "x")
    now = timezone.now()
    Race.objects.create(slug="x", name="X", start=now, ends=now + timedelta(1))
    with pytest.raises(CommandError, match="X has no checkpoints."):
        call_command("timing", "mylaps", "--race", "x")


@pytest.mark.parametrize("address", ["3097", ":3097", "host:", "host:70000"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(CommandError, match="is not an address like"):
        call_command("timing", "raceresult", "--race", "x", "--connect", address)


def test_a_port_in_use_is_reported_in_one_line() -> None:
    race = make_race()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Cannot listen at 127.0.0.1:{port}"):
            call_command(
                "timing", "mylaps", f"--race={race.slug}", f"--listen=127.0.0.1:{port}"
            )
