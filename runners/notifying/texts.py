"""The texts of news, in notifications and in mails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _

from runners.models import News, Sos
from runners.models.news import Kind

ZERO = timedelta()


class Words(NamedTuple):
    """A title and a sentence, and the page that they link to."""

    title: str
    body: str
    url: str


def words_of(news: News, *, named: bool) -> Words:
    """Return the text for a follower in the active language; `named`: may know the
    race.
    """
    name, at = news.runner.name, _clock(news.at, news)
    url = reverse("runner", args=[news.runner.code])
    race = f" {news.entry.race.name}." if news.entry and named else ""
    if news.kind == Kind.START:
        return Words(_("{name} has started").format(name=name), _at(at) + race, url)
    if news.kind == Kind.CHECKPOINT:
        place = news.checkpoint.name if news.checkpoint else _("a checkpoint")
        title = _("{name} at {place}").format(name=name, place=place)
        return Words(title, _passed(at, news) + race, url)
    if news.kind == Kind.FINISH:
        title = _("{name} has finished").format(name=name)
        return Words(title, _passed(at, news) + race, url)
    if news.kind == Kind.ARRIVAL:
        title = _("{name} in about {count} min").format(name=name, count=news.minutes)
        place = f"{(news.distance or 0) / 1000:.1f} km"
        return Words(title, _("At {distance}").format(distance=place) + "." + race, url)
    if news.kind == Kind.SILENCE:
        body = _("Since {time}. Usually it is the network, and the signal returns.")
        title = _("No signal from {name}").format(name=name)
        return Words(title, body.format(time=at) + race, url)
    if news.kind == Kind.FINE:
        return _fine(news, url)
    body = (
        _("At {time}. The race office has been notified.")
        if news.sos is None or news.sos.lat is None
        else _("At {time}. The race office has the position.")
    )
    return Words(_called(name), body.format(time=at), url)


def words_for_contact(news: News, sos: Sos) -> Words:
    """Return the text for a contact, with the position, in the active language."""
    page = settings.PUBLIC_URL + reverse("runner", args=[news.runner.code])
    if news.kind == Kind.FINE:
        return _fine(news, page)
    at = _clock(news.at, news)
    battery = "" if sos.battery is None else _("Battery {percent} %.")
    battery = battery.format(percent=f"{sos.battery or 0:.0f}")
    if sos.lat is None or sos.lng is None or sos.placed_at is None:
        body = _("At {time}. Their phone has no position.").format(time=at)
        return Words(_called(news.runner.name), f"{body} {battery}".strip(), page)
    accuracy = "" if sos.accuracy is None else f" (± {sos.accuracy:.0f} m)"
    place = f"{sos.lat:.5f}, {sos.lng:.5f}{accuracy}"
    age = (news.at - sos.placed_at).total_seconds()
    body = (
        _("At {time}. {span} earlier they were at {place}.")
        if age > 60
        else _("At {time}, at {place}.")
    )
    body = body.format(time=at, span=_span(age), place=place)
    return Words(
        _called(news.runner.name),
        f"{body} {battery}".strip(),
        "https://www.openstreetmap.org/"
        f"?mlat={sos.lat:.5f}&mlon={sos.lng:.5f}#map=17/{sos.lat:.5f}/{sos.lng:.5f}",
    )


def _called(name: str) -> str:
    return _("{name} calls for help").format(name=name)


def _fine(news: News, url: str) -> Words:
    body = _("Reported by the runner at {time}.").format(time=_clock(news.at, news))
    return Words(_("{name} is fine").format(name=news.runner.name), body, url)


def _at(clock: str) -> str:
    return _("At {time}.").format(time=clock)


def _passed(clock: str, news: News) -> str:
    """Return the time, and the time since the start if it is known."""
    entry = news.entry
    if entry is None or (elapsed := news.at - (entry.started_at or entry.gun)) <= ZERO:
        return _at(clock)
    words = _("At {time}, after {duration}.")
    return words.format(time=clock, duration=_duration(elapsed))


def _clock(moment: datetime, news: News) -> str:
    if news.entry is None:
        return f"{moment.astimezone(UTC):%H:%M:%S} UTC"
    return f"{moment.astimezone(ZoneInfo(news.entry.race.timezone)):%H:%M:%S}"


def _duration(span: timedelta) -> str:
    minutes, seconds = divmod(round(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
