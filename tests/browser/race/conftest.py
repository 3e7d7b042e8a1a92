"""A race under way in a browser, with reduced motion."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext

from runners.management.commands.demo import race_restart
from runners.models import Entry, LatestPosition
from tests.browser.conftest import FEW_FRAMES, SCALE, VIEWPORT
from tests.servers import Server


@pytest.fixture
def context(browser: Browser, web_server: Server) -> Iterator[BrowserContext]:
    """A browser with English and kilometres, where the map moves at once."""
    context = browser.new_context(
        base_url=web_server.url,
        viewport=VIEWPORT,
        device_scale_factor=SCALE,
        locale="en-IE",
        # Each frame of a moving map takes as much CPU as the picture at its end.
        reduced_motion="reduce",
    )
    context.add_init_script(FEW_FRAMES)
    yield context
    context.close()


@pytest.fixture(scope="module")
def race(web_server: Server) -> str:
    """The demo race; the code of a runner of its second wave."""
    return web_server.database(make_demo_race)


def make_demo_race() -> str:
    """Make a race with three waves, the first 22 minutes ago, over five laps of 3.2 km.

    The runners stand still and stay live during the tests.
    """
    race_restart(24)
    LatestPosition.objects.update(recorded_at=timezone.now() + timedelta(hours=1))
    second = Entry.objects.filter(wave__name="B", status=Entry.Status.STARTED)
    return second[0].runner.code
