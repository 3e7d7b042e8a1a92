"""Races with finishers, and what is read of their pages."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from runners.models import LatestPosition, Race, Runner
from runners.preferences.runner_settings import visibility_set
from tests.browser.pages import LivePage
from tests.races.field import make_entry, make_race

# The leader: in the first wave and past 2 km, so that there are arrival times.
LEADER = """() => [...globalThis.spectate.store.runners.values()].sort(
  (a, b) => (b.fix?.progress ?? 0) - (a.fix?.progress ?? 0))[0].code"""


def make_finishers(slug: str, visibility: str = Runner.Visibility.RACE) -> None:
    """Make a race in which Ann and Bob have finished and Cleo has not."""
    race = make_race(slug=slug)
    for name, bib, pace, category in (
        ("ann", "1", 0.2, "W"),
        ("bob", "2", 0.21, "M"),
        ("cleo", "3", 0.3, "W"),
    ):
        code = f"{name}-{slug}"
        make_entry(race, code, bib, pace=pace, category=category, visibility=visibility)


def end_race(slug: str) -> None:
    """End a race whose runners are public, so that their pages remain.

    Cleo's phone goes on sending.
    """
    for runner in Runner.objects.filter(entries__race__slug=slug):
        visibility_set(runner=runner, visibility="public")
    now = timezone.now()
    Race.objects.filter(slug=slug).update(ends=now)
    LatestPosition.objects.filter(runner__code=f"cleo-{slug}").update(
        recorded_at=now + timedelta(hours=1), progress=None
    )


def open_race(page: LivePage) -> str:
    """Open the race; return the code of the leader."""
    page.open("/races/demo/")
    page.page.wait_for_function("() => globalThis.spectate.map()?.getLayer('crowd')")
    leader: str = page.page.evaluate(LEADER)
    return leader


def progress_of(page: LivePage, code: str) -> float | None:
    """Return a runner's progress in the list, km."""
    words = page.row(code).locator(".distance").all_inner_texts()
    if not words or not words[0]:
        return None
    value, unit = words[0].split()
    return float(value) / (1000 if unit == "m" else 1)


def show_time(page: LivePage, time: int) -> None:
    """Move the slider of the replay to a time in ms."""
    page.page.locator("#player-time").evaluate(
        "(slider, time) => { slider.value = time;"
        " slider.dispatchEvent(new Event('input')); }",
        time,
    )
