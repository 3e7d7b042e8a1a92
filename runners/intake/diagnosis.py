"""Diagnoses whether a phone works, and what is wrong with it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from runners.models import Phone, Position, RunnerToken
from runners.units.earth import EARTH_RADIUS_M

# Fixes that are examined: the newest ones, not older than the token.
FIXES = 20
# A fix that is older than this on arrival is late, unless it comes from a buffer.
LATE = timedelta(seconds=60)
# With a worse accuracy, the course and the next street are indistinguishable.
COARSE_M = 50.0
# Fixes within this distance are of a standing runner, for at most this time.
STILL_M = 15.0
STILL_FOR = timedelta(seconds=60)
# At longer intervals the marker jumps on the map.
SLOW_S = 30.0
SILENT = timedelta(minutes=2)

# Errors that the runner's own choices cause.
PRIVATE = {"zone.hidden", "sharing.paused", "position.erased"}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The state (waiting, problem or ok), a headline, and the problems in sentences."""

    state: str
    headline: str
    problems: Sequence[str]
    facts: Sequence[tuple[str, str]] = ()


def diagnose(token: RunnerToken) -> Diagnosis:
    """Diagnose the phone with this token. Causes two queries."""
    now = timezone.now()
    phone = Phone.objects.filter(pk=token.pk).first()
    if token.revoked_at is not None or (token.expires_at or now) < now:
        return Diagnosis(
            "problem",
            _("This phone is no longer allowed to send."),
            [_("Its token has ended. Set the phone up again.")],
        )
    if phone is None:
        return Diagnosis("waiting", _("Nothing has arrived from this phone yet."), [])
    fixes = list(_fixes(token)) if phone.fix_at else []
    if not fixes:
        return _without_a_fix(phone)
    problems = list(_problems(phone, fixes, now))
    return Diagnosis(
        "problem" if problems else "ok",
        _("It works, but not well yet.") if problems else _("It works."),
        problems,
        list(_facts(phone, fixes, now)),
    )


def _fixes(token: RunnerToken) -> QuerySet[Position]:
    """Return the newest fixes, newest first."""
    return Position.objects.filter(
        runner=token.runner_id, stored_at__gte=token.created_at
    ).order_by("-recorded_at")[:FIXES]


def _without_a_fix(phone: Phone) -> Diagnosis:
    facts = [(_("App"), phone.app)] if phone.app else []
    if not phone.refused:
        return Diagnosis(
            "waiting",
            _("The phone reports, but it has no position yet."),
            [_("Go outside, and allow the app to use the location always.")],
            facts,
        )
    if PRIVATE.issuperset(phone.reasons):
        return Diagnosis(
            "ok",
            _("It works. Your present position is private, as you have chosen."),
            [],
            facts,
        )
    headline = _("The phone sends, but none of its data can be used.")
    return Diagnosis("problem", headline, list(_refusals(phone)), facts)


def _problems(phone: Phone, fixes: Sequence[Position], now: datetime) -> Iterator[str]:
    newest, oldest = fixes[0], fixes[-1]
    if now - phone.contact_at > SILENT:
        yield _(
            "Nothing has arrived for {span}. Is the app still running and excluded "
            "from battery saving?"
        ).format(span=duration(now - phone.contact_at))
    delay = newest.stored_at - newest.recorded_at
    if delay > LATE:
        yield _(
            "The newest position was {span} old when it arrived. Is the phone's clock "
            "right, and does it have a connection?"
        ).format(span=duration(delay))
    accuracies = [fix.accuracy for fix in fixes[:5] if fix.accuracy is not None]
    if accuracies and statistics.median(accuracies) > COARSE_M:
        yield _(
            "Positions are only accurate to {count} m. Allow the precise location and "
            "choose the highest accuracy."
        ).format(count=_rounded_text(statistics.median(accuracies)))
    span = newest.recorded_at - oldest.recorded_at
    if span >= STILL_FOR and all(_distance(newest, fix) < STILL_M for fix in fixes):
        yield _(
            "The phone has not moved. Walk fifty steps and check whether its position "
            "changes."
        )
    gaps = [
        (later.recorded_at - earlier.recorded_at).total_seconds()
        for later, earlier in zip(fixes, fixes[1:], strict=False)
    ]
    if len(gaps) >= 2 and (gap := statistics.median(gaps)) > SLOW_S:
        yield _(
            "A position arrives only every {count} s. Set the app's interval to 5 s."
        ).format(count=_rounded_text(gap))
    if phone.refused_at and phone.fix_at and phone.refused_at >= phone.fix_at:
        yield from _refusals(phone)


def _refusals(phone: Phone) -> Iterator[str]:
    if PRIVATE.issuperset(phone.reasons):
        return
    if "position.future" in phone.reasons:
        yield _("The phone's clock is ahead. Set it to network time.")
    if phone.last_reason and "position.future" not in phone.reasons:
        yield _("Last refused: {reason}").format(reason=phone.last_reason)


def _facts(
    phone: Phone, fixes: Sequence[Position], now: datetime
) -> Iterator[tuple[str, str]]:
    newest = fixes[0]
    if phone.app:
        yield _("App"), phone.app
    yield (
        _("Last position"),
        _("{span} ago").format(span=duration(now - newest.recorded_at)),
    )
    if newest.accuracy is not None:
        yield _("Accuracy"), f"{_rounded_text(newest.accuracy)} m"
    if newest.battery is not None:
        yield _("Battery"), f"{newest.battery:.0f} %"
    yield _("Accepted"), _rounded_text(phone.accepted)
    yield _("Refused"), _rounded_text(phone.refused)


def _rounded_text(number: float) -> str:
    return number_format(round(number), 0, force_grouping=True)


def duration(length: timedelta) -> str:
    """Format a duration with one number, such as "12 s"."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _distance(a: Position, b: Position) -> float:
    """Return the distance of two nearby positions in metres."""
    north = math.radians(a.lat - b.lat)
    east = math.radians(a.lng - b.lng) * math.cos(math.radians(a.lat))
    return EARTH_RADIUS_M * math.hypot(north, east)
