"""A runner's privacy rules: zones, pauses, the end of sharing.

They are enforced before the fan-out, so that no hidden position leaves the server.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from runners.models import Entry, LatestPosition, Pause, Position, Runner, Zone
from runners.models.runner import PUBLIC_HISTORY
from runners.positions.fix import Fix
from runners.positions.validation import FixError
from runners.units.clock import milliseconds
from runners.units.earth import EARTH_RADIUS_M

PUBLIC_HISTORY_MS = PUBLIC_HISTORY // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Circle:
    """A zone as it is enforced: centre in degrees, radius in metres."""

    lat: float
    lng: float
    radius: float

    @classmethod
    def of(cls, zone: Zone) -> Circle:
        """Return the circle that a zone hides, on all days."""
        offset = zone.shift * zone.radius
        angle = math.radians(zone.bearing)
        lat = zone.lat + math.degrees(offset * math.cos(angle) / EARTH_RADIUS_M)
        scale = max(0.01, math.cos(math.radians(zone.lat)))
        lng = zone.lng + math.degrees(offset * math.sin(angle) / EARTH_RADIUS_M / scale)
        return cls(lat, lng, Zone.HIDDEN_RADII * zone.radius)

    def hides(self, fix: Fix) -> bool:
        """Return whether a fix lies inside."""
        scale = math.cos(math.radians(self.lat))
        north = math.radians(fix.lat - self.lat)
        east = math.radians((fix.lng - self.lng + 540) % 360 - 180) * scale
        return EARTH_RADIUS_M * math.hypot(north, east) <= self.radius


@dataclass(frozen=True, slots=True)
class PrivacyRules:
    """Decides which of a runner's fixes are accepted.

    Times are in milliseconds since the epoch.
    """

    circles: Sequence[Circle] = ()
    pauses: Sequence[tuple[int, float]] = ()
    ends: float = math.inf
    erased: int = 0
    exists: bool = True
    # Whether everybody sees the runner outside of races, from when on at all, and when
    # the race window begins.
    public: bool = False
    public_from: int = 0
    race_from: int = 0

    def check(self, fix: Fix) -> None:
        """Refuse fixes that the runner does not share. Raises `FixError`."""
        if not self.exists:
            raise FixError("runner.unknown", "The runner does not exist any more.")
        if fix.t > self.ends:
            raise FixError(
                "sharing.paused", "Sharing has ended. Start it again on your page."
            )
        for start, end in self.pauses:
            if start <= fix.t < end:
                raise FixError(
                    "sharing.paused", "Sharing is paused, or was paused at that time."
                )
        if fix.t <= self.erased:
            raise FixError("position.erased", "Positions up to this time were erased.")
        for circle in self.circles:
            if circle.hides(fix):
                raise FixError("zone.hidden", "This position is in a privacy zone.")

    def shown_from(self, now: int) -> int:
        """Return the time before which fixes are stored and shown to nobody.

        0 for runners whom not everybody sees: their viewers' sockets have limits.
        """
        if self.public:
            # In open mode, publishers may have any clock.
            day_ago = 0 if settings.SPECTATE_OPEN else now - PUBLIC_HISTORY_MS
            return max(self.public_from, min(day_ago, self.race_from or day_ago))
        if self.race_from and self.race_from <= now:
            return max(self.public_from, self.race_from)
        return 0


def read_rules(pk: int) -> PrivacyRules:
    """Read a runner's rules. Causes three or four queries."""
    runner = Runner.objects.filter(pk=pk).first()
    if runner is None:
        return PrivacyRules(exists=False)
    pauses: Iterable[Pause] = runner.pauses.all()
    ends, erased = runner.sharing_ends_at, runner.erased_at
    public_from = runner.public_from
    return PrivacyRules(
        circles=[Circle.of(zone) for zone in runner.zones.all()],
        pauses=[
            (
                milliseconds(pause.started_at),
                math.inf if pause.ended_at is None else milliseconds(pause.ended_at),
            )
            for pause in pauses
        ],
        ends=math.inf if ends is None else milliseconds(ends),
        erased=0 if erased is None else milliseconds(erased),
        public=runner.visibility == Runner.Visibility.PUBLIC,
        public_from=0 if public_from is None else milliseconds(public_from),
        race_from=_race_from(runner),
    )


def _race_from(runner: Runner) -> int:
    if runner.visibility not in (Runner.Visibility.PUBLIC, Runner.Visibility.RACE):
        return 0
    entries = Entry.objects.open_after(timezone.now()).filter(runner=runner)
    return min((milliseconds(opens) for _, opens, _ in entries.windows()), default=0)


def read_latest(pk: int) -> int:
    """Return the time of a runner's newest fix in milliseconds; 0 if there is none."""
    recorded_at = (
        LatestPosition.objects.filter(pk=pk)
        .values_list("recorded_at", flat=True)
        .first()
    )
    return 0 if recorded_at is None else milliseconds(recorded_at)


def forget_hidden(pk: int, stored_within: float | None = None) -> None:
    """Delete a runner's stored positions that a zone hides or that were erased.

    With `stored_within` (seconds), only those that were stored recently.
    """
    rules = read_rules(pk)
    hidden = []
    positions = Position.objects.filter(runner=pk)
    if stored_within is not None:
        since = timezone.now() - timedelta(seconds=stored_within)
        positions = positions.filter(stored_at__gte=since)
    for row in positions.iterator():
        fix = Fix(milliseconds(row.recorded_at), row.lat, row.lng)
        if fix.t <= rules.erased or any(c.hides(fix) for c in rules.circles):
            hidden.append(row.pk)
    for start in range(0, len(hidden), 500):
        Position.objects.filter(pk__in=hidden[start : start + 500]).delete()
    latest = LatestPosition.objects.filter(pk=pk).first()
    if latest is None:
        return
    fix = Fix(milliseconds(latest.recorded_at), latest.lat, latest.lng)
    if fix.t <= rules.erased or any(c.hides(fix) for c in rules.circles):
        latest.delete()
