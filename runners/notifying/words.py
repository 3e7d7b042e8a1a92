"""What is said of a piece of news, in a notification and in a mail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.conf import settings
from django.urls import reverse

from runners.models import News, Sos
from runners.models.news import Kind


class Words(NamedTuple):
    """A title and a sentence, and the page that they lead to."""

    title: str
    body: str
    url: str


def words_of(news: News, *, named: bool) -> Words:
    """Tell a follower; `named`: they may know of the race."""
    who = news.runner.name
    url = reverse("runner", args=[news.runner.code])
    race = f" {news.entry.race.name}." if news.entry and named else ""
    at = _clock(news.at, news)
    after = _since_the_start(news)
    if news.kind == Kind.START:
        return Words(f"{who} has started", f"At {at}.{race}", url)
    if news.kind == Kind.CHECKPOINT:
        place = news.checkpoint.name if news.checkpoint else "a checkpoint"
        return Words(f"{who} at {place}", f"At {at}{after}.{race}", url)
    if news.kind == Kind.FINISH:
        return Words(f"{who} has finished", f"At {at}{after}.{race}", url)
    if news.kind == Kind.SILENCE:
        body = f"Since {at}. Mostly it is the network, and the phone comes back."
        return Words(f"No signal from {who}", f"{body}{race}", url)
    if news.kind == Kind.FINE:
        return Words(f"{who} is fine", f"So they say, at {at}.", url)
    body = f"At {at}. The race office has been told where."
    return Words(f"{who} calls for help", body, url)


def words_for_contact(news: News, sos: Sos) -> Words:
    """Tell whom the runner chose, with the place."""
    who = news.runner.name
    if news.kind == Kind.FINE:
        page = reverse("runner", args=[news.runner.code])
        return Words(
            f"{who} is fine",
            f"So they say, at {_clock(news.at, news)}.",
            settings.PUBLIC_URL + page,
        )
    battery = "" if sos.battery is None else f" Battery {sos.battery:.0f} %."
    at = _clock(news.at, news)
    if sos.lat is None or sos.lng is None or sos.placed_at is None:
        page = reverse("runner", args=[news.runner.code])
        body = f"At {at}. Their phone found no place.{battery}"
        return Words(f"{who} calls for help", body, settings.PUBLIC_URL + page)
    place = f"{sos.lat:.5f}, {sos.lng:.5f}"
    accuracy = "" if sos.accuracy is None else f" (± {sos.accuracy:.0f} m)"
    age = (news.at - sos.placed_at).total_seconds()
    since = f" {_span(age)} before" if age > 60 else ""
    return Words(
        f"{who} calls for help",
        f"At {at}, at {place}{accuracy}{since}.{battery}",
        "https://www.openstreetmap.org/"
        f"?mlat={sos.lat:.5f}&mlon={sos.lng:.5f}#map=17/{sos.lat:.5f}/{sos.lng:.5f}",
    )


def _clock(moment: datetime, news: News) -> str:
    if news.entry is None:
        return f"{moment.astimezone(UTC):%H:%M:%S} UTC"
    return f"{moment.astimezone(ZoneInfo(news.entry.race.timezone)):%H:%M:%S}"


def _since_the_start(news: News) -> str:
    entry = news.entry
    if entry is None:
        return ""
    elapsed = news.at - (entry.started_at or entry.gun)
    return f", after {_duration(elapsed)}" if elapsed > timedelta() else ""


def _duration(span: timedelta) -> str:
    minutes, seconds = divmod(round(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
