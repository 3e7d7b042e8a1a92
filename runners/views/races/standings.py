"""The standings of a race: as JSON, as CSV, as a page; and the page of one entry."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from functools import partial
from hashlib import blake2b
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import get_language, gettext_lazy, override
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from runners import store
from runners.live.outbox import now_ms
from runners.models import Race, ShareLink
from runners.positions.fix import milliseconds
from runners.races.standings import Gap, Leg, Place, Row, legs
from runners.sharing.identity import LinkError, find_link
from runners.views.live_json import Refused
from runners.views.races.asking import answers_json
from runners.views.races.listing import Listing, listing_asked
from runners.views.share import is_opened, kept_secret

# What a spreadsheet takes for a formula when a cell begins with it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
STATE_WORDS = {
    "finished": gettext_lazy("Finished"),
    "started": gettext_lazy("Running"),
    "off_course": gettext_lazy("Off course"),
    "registered": gettext_lazy("Not started"),
    "dnf": gettext_lazy("Did not finish"),
    "dns": gettext_lazy("Did not start"),
}
# Behind how many they are.
COUNT_WORDS = {
    "finished": gettext_lazy("finished"),
    "started": gettext_lazy("running"),
    "registered": gettext_lazy("not started"),
    "dnf": gettext_lazy("did not finish"),
    "dns": gettext_lazy("did not start"),
}
AWAY = "The database does not answer. Try again soon."


@require_safe
@answers_json
async def standings_json(request: HttpRequest, slug: str) -> HttpResponse:
    """Answer the standings (docs/protocol.md).

    `?by=gun|chip&category=&wave=&q=&from=1&rows=100&splits=1`.
    """
    user = await request.auser()
    body = await store.read(_json, request, slug, user.pk)
    return HttpResponse(body, content_type="application/json")


@require_safe
@answers_json
async def standings_csv(request: HttpRequest, slug: str) -> HttpResponse:
    """Answer the standings as a table for a spreadsheet, `?by=&category=&wave=&q=`."""
    user = await request.auser()
    return csv_response(slug, await store.read(_csv, request, slug, user.pk))


def csv_response(slug: str, body: bytes) -> HttpResponse:
    """Return a table to be saved."""
    return HttpResponse(
        body,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{slug}.csv"'},
    )


@require_safe
async def standings_page(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the standings; the page fetches itself again while the race runs."""
    user = await request.auser()
    return await _page(request, _standings, slug, user.pk)


@require_safe
async def entry_page(request: HttpRequest, slug: str, bib: str) -> HttpResponse:
    """Show one entry with its splits."""
    user = await request.auser()
    return await _page(request, partial(_entry, bib=bib), slug, user.pk)


@require_safe
async def shared_standings(request: HttpRequest, token: str) -> HttpResponse:
    """Show the standings of the race that a share link is to."""
    return await _shared(request, token, _standings)


@require_safe
async def shared_entry(request: HttpRequest, token: str, bib: str) -> HttpResponse:
    """Show one entry of it."""
    return await _shared(request, token, partial(_entry, bib=bib))


@require_safe
async def shared_csv(request: HttpRequest, token: str) -> HttpResponse:
    """Answer them as a table."""

    def table(request: HttpRequest, slug: str, *about: Any) -> HttpResponse:
        user, link, _base = about
        return csv_response(slug, _csv(request, slug, user, link))

    return await _shared(request, token, table)


async def _shared(request: HttpRequest, token: str, make: Any) -> HttpResponse:
    user = await request.auser()
    return kept_secret(await _page(request, _behind_link, token, user.pk, make))


async def _page(request: HttpRequest, make: Any, *about: Any) -> HttpResponse:
    try:
        response: HttpResponse = await store.read(
            _in_language, get_language(), make, request, *about
        )
    except Refused as error:
        if error.status == HTTPStatus.BAD_REQUEST:
            return HttpResponse(error.detail, status=400, content_type="text/plain")
        raise Http404(error.detail) from None
    except store.StoreUnavailable:
        return HttpResponse(AWAY, status=503, content_type="text/plain")
    patch_cache_control(response, private=True, no_cache=True)
    return response


# In a thread of the store


def _in_language(language: str, make: Any, *about: Any) -> HttpResponse:
    with override(language):
        response: HttpResponse = make(*about)
        return response


def _behind_link(
    request: HttpRequest, token: str, user: int | None, make: Any
) -> HttpResponse:
    """Make the page of a link's race; who has to be told something is sent to it."""
    base = reverse("share", args=[token])
    try:
        link = find_link(token)
    except LinkError:
        return HttpResponseRedirect(base)
    if not is_opened(request, link):
        return HttpResponseRedirect(base)
    if link.race is None:
        raise Http404("This link is to no race.")
    response: HttpResponse = make(request, link.race.slug, user, link, base)
    return response


def _json(request: HttpRequest, slug: str, user: int | None) -> bytes:
    listing = listing_asked(request, slug, user)
    race, splits = listing.race, request.GET.get("splits") == "1"
    names = _names(listing)
    rows = []
    for place, gap in zip(listing.page, listing.gaps, strict=True):
        row = place.row
        taken = [
            {
                "checkpoint": names[leg.split.checkpoint],
                "pass": leg.split.pass_number,
                "distance": round(leg.split.distance, 1),
                "at": _ms(leg.split.time),
                "elapsed": _ms(leg.elapsed),
                "pace": None if leg.pace is None else round(1000 * leg.pace, 1),
                "uncertainty": leg.split.uncertainty,
                "corrected": leg.split.by_hand,
            }
            for leg in legs(row, listing.asked.clock)
        ]
        rows.append(
            {
                "rank": place.rank,
                "category_rank": place.category_rank,
                "wave_rank": place.wave_rank,
                "runner": row.code,
                "bib": row.bib,
                "name": row.name,
                "category": row.category,
                "wave": row.wave,
                "status": row.status,
                "state": row.state,
                "out": _ms(row.out),
                "gun_time": _ms(row.time("gun")),
                "chip_time": _ms(row.time("chip")),
                "progress": None if row.distance is None else round(row.distance, 1),
                "gap": _ms(gap.seconds),
                "gap_metres": None if gap.metres is None else round(gap.metres, 1),
                "seen": _ms(row.heard),
                "last": taken[-1] if taken else None,
            }
            | ({"splits": taken} if splits else {})
        )
    return orjson.dumps(
        {
            "race": {
                "slug": race.slug,
                "name": race.name,
                "start": milliseconds(race.start),
                "ends": milliseconds(race.ends),
                "timezone": race.timezone,
                "length": round(race.length, 1),
            },
            "time": now_ms(),
            "by": listing.asked.clock,
            "categories": listing.categories,
            "waves": listing.waves,
            "entries": listing.entries,
            "hidden": listing.hidden,
            "states": listing.states,
            "matching": len(listing.places),
            "from": listing.asked.first,
            "standings": rows,
        }
    )


def _csv(
    request: HttpRequest, slug: str, user: int | None, link: ShareLink | None = None
) -> bytes:
    listing = listing_asked(request, slug, user, whole=True, link=link)
    names = _names(listing)
    passes = sorted(
        (distance, stop, number)
        for (stop, number), distance in listing.ground.passes.items()
        if distance > 0
    )
    # With the mark by which spreadsheets know the encoding.
    text = io.StringIO("\ufeff")
    text.seek(0, io.SEEK_END)
    table = csv.writer(text)
    table.writerow(
        [
            *("rank", "category rank", "wave rank", "bib", "name", "category", "wave"),
            *("status", "gun time", "chip time", "distance"),
            *(
                _safe(names[stop] + (f" ({number})" if number > 1 else ""))
                for _, stop, number in passes
            ),
        ]
    )
    for place in listing.page:
        row = place.row
        elapsed = {
            (leg.split.checkpoint, leg.split.pass_number): leg.elapsed
            for leg in legs(row, listing.asked.clock)
        }
        table.writerow(
            [
                *(place.rank, place.category_rank, place.wave_rank),
                *map(_safe, (row.bib, row.name, row.category, row.wave, row.status)),
                *map(hms, (row.time("gun"), row.time("chip"))),
                "" if row.distance is None else round(row.distance),
                *(hms(elapsed.get((stop, number))) for _, stop, number in passes),
            ]
        )
    return text.getvalue().encode()


def _safe(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _standings(
    request: HttpRequest,
    slug: str,
    user: int | None,
    link: ShareLink | None = None,
    base: str = "",
) -> HttpResponse:
    listing = listing_asked(request, slug, user, link=link)
    race, asked = listing.race, listing.asked
    last = asked.first - 1 + len(listing.page)
    names = _names(listing)
    rows = zip(listing.page, listing.ranks, listing.gaps, strict=True)
    context = _about(race, base) | {
        "listing": listing,
        "asked": asked,
        "rows": [_shown(*row, listing, names) for row in rows],
        "counts": [
            (listing.states[state], word)
            for state, word in COUNT_WORDS.items()
            if listing.states[state]
        ],
        "last": last,
        "before": _query(request, asked.first - asked.rows) if asked.first > 1 else "",
        "after": _query(request, last + 1) if last < len(listing.places) else "",
        "csv": _query(request, None),
    }
    return _render(request, "standings", context)


def _entry(
    request: HttpRequest,
    slug: str,
    user: int | None,
    link: ShareLink | None = None,
    base: str = "",
    *,
    bib: str,
) -> HttpResponse:
    listing = listing_asked(request, slug, user, bib=bib, link=link)
    if not listing.page:
        raise Http404("There is no such entry, or it is not shown to you.")
    (place,), names = listing.page, _names(listing)
    splits = legs(place.row, listing.asked.clock)
    context = _about(listing.race, base) | {
        "asked": listing.asked,
        "entry": _shown(place, place.rank, listing.gaps[0], listing, names),
        "place": place,
        "out": None if place.row.out is None else _there(place.row.out, listing.race),
        "out_ms": _ms(place.row.out),
        "gun_time": hms(place.row.time("gun")),
        "chip_time": hms(place.row.time("chip")),
        "splits": [_split(leg, names, listing.race) for leg in splits],
    }
    return _render(request, "entry", context)


def _render(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    """Return the page, or the part of it that changes: 304 to who has that already."""
    if "part" not in request.GET:
        return render(request, f"runners/{name}.html", context)
    response = render(request, f"runners/_{name}.html", context)
    etag = f'"{blake2b(response.content, digest_size=12).hexdigest()}"'
    response["ETag"] = etag
    return get_conditional_response(request, etag=etag) or response


def _there(moment: float, race: Race) -> datetime:
    """Return what the clocks at the race show; without a zone, as templates convert."""
    zone = ZoneInfo(race.timezone)
    return datetime.fromtimestamp(moment, zone).replace(tzinfo=None)


def _names(listing: Listing) -> dict[int, str]:
    return {stop.pk: stop.name for stop in listing.ground.stops}


def _about(race: Race, base: str) -> dict[str, Any]:
    now = timezone.now()
    state = "on" if race.start <= now else "next"
    return {
        "race": race,
        # What the addresses of these pages begin with.
        "base": base or reverse("race", args=[race.slug]),
        "is_shared": bool(base),
        "race_state": "over" if race.ends <= now else state,
        "race_length": race.length / 1000,
        "race_start": _there(race.start.timestamp(), race),
        "race_place": race.timezone.rpartition("/")[2].replace("_", " "),
        "now": milliseconds(now),
    }


def _shown(
    place: Place,
    rank: int | None,
    gap: Gap,
    listing: Listing,
    names: dict[int, str],
) -> dict[str, Any]:
    """Return a row in words."""
    row, clock = place.row, listing.asked.clock
    time = row.time(clock)
    last = ""
    if row.splits and time is None and row.splits[-1].distance > 0:
        split = row.splits[-1]
        last = _("{place} in {time}").format(
            place=names[split.checkpoint], time=hms(split.time - row.begin(clock))
        )
    return {
        "rank": rank,
        "row": row,
        "state": STATE_WORDS[row.state],
        "figure": hms(time) if time is not None else _kilometres(row),
        "gap": _gap(gap),
        "last": last,
        "group": " · ".join(filter(None, [row.category, row.wave])),
    }


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
    """Return kilometres that a script can make miles of."""
    text = f"{sign}{number_format(round(metres / 1000, 1), 1)} km"
    return format_html('<span data-metres="{}">{}</span>', round(metres), text)


def _pace(seconds: float) -> str:
    """Return a pace of so many seconds a metre, likewise."""
    text = f"{hms(1000 * seconds)} /km"
    return format_html('<span data-pace="{}">{}</span>', round(seconds, 4), text)


def _split(leg: Leg, names: dict[int, str], race: Race) -> dict[str, Any]:
    split = leg.split
    number = f" ({split.pass_number})" if split.pass_number > 1 else ""
    name = names[split.checkpoint]
    tells = name.endswith("km") or not split.distance
    return {
        "name": name + number,
        "distance": "" if tells else _distance(split.distance),
        "ms": _ms(split.time),
        "at": _there(split.time, race),
        "elapsed": hms(leg.elapsed),
        "pace": "" if leg.pace is None else _pace(leg.pace),
        "corrected": split.by_hand,
        # A fix a second is as good as a mat; more is worth saying.
        "uncertainty": round(split.uncertainty / 2) if split.uncertainty > 10 else 0,
    }


def _query(request: HttpRequest, first: int | None) -> str:
    """Return the query of another page of the same standings, or of all of it."""
    query = request.GET.copy()
    for name in ("from", "part", *(["rows"] if first is None else [])):
        query.pop(name, None)
    if first is not None and first > 1:
        query["from"] = str(first)
    return f"?{query.urlencode()}"


def hms(seconds: float | None) -> str:
    """Return 48:12 or 1:52:07; nothing for None. Whole seconds, as results have."""
    if seconds is None:
        return ""
    hours, rest = divmod(int(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02}:{seconds:02}"
    return f"{minutes}:{seconds:02}"


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
