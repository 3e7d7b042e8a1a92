"""The texts of the standings' pages, in the language of the request."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from runners.models import Race
from runners.races.standings import Gap, Leg, RankedRow, Row
from runners.views.races.listing import Listing

STATE_WORDS = {
    "finished": gettext_lazy("Finished"),
    "started": gettext_lazy("Running"),
    "off_course": gettext_lazy("Off course"),
    "registered": gettext_lazy("Not started"),
    "dnf": gettext_lazy("Did not finish"),
    "dns": gettext_lazy("Did not start"),
    "dsq": gettext_lazy("Disqualified"),
}
# The names of the states, to follow a count.
COUNT_WORDS = {
    "finished": gettext_lazy("finished"),
    "started": gettext_lazy("running"),
    "registered": gettext_lazy("not started"),
    "dnf": gettext_lazy("did not finish"),
    "dns": gettext_lazy("did not start"),
    "dsq": gettext_lazy("disqualified"),
}
# The same once the race is over.
OVER_COUNT_WORDS = COUNT_WORDS | {"started": gettext_lazy("not finished")}


def count_words(race: Race) -> dict[str, str]:
    """Map statuses to texts that follow a count."""
    words = OVER_COUNT_WORDS if race.is_over else COUNT_WORDS
    return {status: str(text) for status, text in words.items()}


def _state_words(row: Row, race: Race) -> str:
    if race.is_over and row.status == "started":
        return _("Not finished")
    return str(STATE_WORDS[row.state])


def shown(
    ranked: RankedRow, rank: int | None, gap: Gap, listing: Listing
) -> dict[str, Any]:
    """Return the texts of a row of the standings.

    Keys: `rank`, `row`, and the texts `state`, `figure` (time, or distance), `gap`,
    `last` (the last split) and `group` (category and wave).
    """
    row, clock = ranked.row, listing.query.clock
    time = row.time(clock)
    last = ""
    if row.splits and time is None and row.splits[-1].distance > 0:
        split = row.splits[-1]
        last = _("{place} in {time}").format(
            place=_checkpoint_name(split.checkpoint, listing),
            time=hms(split.time - row.begin(clock)),
        )
    return {
        "rank": rank,
        "row": row,
        "state": _state_words(row, listing.race),
        "figure": hms(time) if time is not None else _kilometres(row),
        "gap": _gap(gap),
        "last": last,
        "group": " · ".join(filter(None, [row.category, row.wave, row.club])),
    }


def _checkpoint_name(checkpoint: int, listing: Listing) -> str:
    """Return a name; start and finish are translated unless they are renamed."""
    name = listing.names[checkpoint]
    return {"Start": _("Start"), "Finish": _("Finish")}.get(name, name)


def _kilometres(row: Row) -> str:
    if row.distance is None or row.status in ("registered", "dns"):
        return ""
    return _distance(row.distance)


def _gap(gap: Gap) -> str:
    if gap.seconds is not None and gap.seconds >= 0:
        return f"+{hms(gap.seconds)}"
    if gap.metres is not None and gap.metres >= 0:
        return _distance(gap.metres, "+")
    return ""


def _distance(metres: float, sign: str = "") -> str:
    """Return kilometres in markup that a script can convert to miles."""
    text = f"{sign}{number_format(round(metres / 1000, 1), 1)} km"
    return format_html('<span data-metres="{}">{}</span>', round(metres), text)


def _pace(seconds: float) -> str:
    """Return a pace (seconds per metre) in markup that a script can convert."""
    text = f"{hms(1000 * seconds)} /km"
    return format_html('<span data-pace="{}">{}</span>', round(seconds, 4), text)


def split_words(leg: Leg, listing: Listing) -> dict[str, Any]:
    """Return the texts of a row of an entry's splits.

    Keys: the texts `name`, `distance`, `at`, `elapsed` and `pace`, `ms` (milliseconds
    since the epoch), `corrected` (set by hand), `from_file` and `uncertainty` (seconds,
    0 if it is small).
    """
    split = leg.split
    number = f" ({split.pass_number})" if split.pass_number > 1 else ""
    name = _checkpoint_name(split.checkpoint, listing)
    names_distance = name.endswith("km") or not split.distance
    return {
        "name": name + number,
        "distance": "" if names_distance else _distance(split.distance),
        "ms": ms(split.time),
        "at": there(split.time, listing.race),
        "elapsed": hms(leg.elapsed),
        "pace": "" if leg.pace is None else _pace(leg.pace),
        "corrected": split.by_hand,
        "from_file": split.from_file,
        # With a fix per second, a split is as accurate as one by a mat. A greater
        # uncertainty is shown.
        "uncertainty": round(split.uncertainty / 2) if split.uncertainty > 10 else 0,
    }


def there(moment: float, race: Race) -> datetime:
    """Return the local time at the race, without a zone for templates."""
    zone = ZoneInfo(race.timezone)
    return datetime.fromtimestamp(moment, zone).replace(tzinfo=None)


def hms(seconds: float | None) -> str:
    """Return 48:12 or 1:52:07; "" for None. Whole seconds, as in results."""
    if seconds is None:
        return ""
    hours, rest = divmod(int(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02}:{seconds:02}"
    return f"{minutes}:{seconds:02}"


def ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
