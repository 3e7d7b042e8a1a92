"""Pictures for link previews: a race, and a runner's place or result in it."""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.cache import patch_cache_control
from django.utils.html import strip_tags
from django.utils.translation import get_language, override
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe
from PIL import Image, ImageColor, ImageDraw, ImageFont

from runners import database
from runners.models import Race
from runners.quotas import network_of, over_quota
from runners.rights.windows import visible_races
from runners.views.live_json import Refused
from runners.views.races.listing import requested_listing
from runners.views.races.texts import shown
from runners.views.share_header import SHARE_HEADER, database_unavailable

# The size that messengers ask for, px.
SIZE = 1200, 630
MARGIN = 60
TEXT_WIDTH = 480
# Lines are drawn at this scale and reduced, because Pillow does not smooth them.
SCALE = 2
# Colours of the page's light theme (spectate.css).
BACKGROUND, TEXT, MUTED, ACCENT = "#F7F8FA", "#151D26", "#4A5766", "#0B6E4F"
MAX_AGE_S = 3600
ENTRY_MAX_AGE_S = 60
# Pictures that a network may request per period. A race village may share one.
MAX_PICTURES = 120
PERIOD_S = 60
# Points of a drawn course: 0.2 s of CPU. A line of 20,000 points takes 1.2 s.
MAX_DRAWN = 1_000
# One thread: other requests, and the storage of positions and passings, do not wait for
# pictures.
DRAWING_THREAD = ThreadPoolExecutor(1, thread_name_prefix="picture")
# White text is readable on darker colours only.
MAX_LUMA_OF_WHITE_TEXT = 110
Place = tuple[float, float]


class Text(NamedTuple):
    """A paragraph of a picture; the size is in px."""

    words: str
    size: int
    colour: str


class Disc(NamedTuple):
    """A runner on the course."""

    lat: float
    lng: float
    colour: str
    bib: str


class Picture(NamedTuple):
    """What `picture` draws."""

    texts: tuple[Text, ...]
    line: tuple[Place, ...]
    disc: Disc | None = None


@require_safe
async def race_preview(request: HttpRequest, slug: str) -> HttpResponse:
    """Return the picture of a public race as PNG."""
    return await _response(request, MAX_AGE_S, partial(_of_race, slug))


@require_safe
async def entry_preview(request: HttpRequest, slug: str, bib: str) -> HttpResponse:
    """Return the picture of a public runner in a race: the result, or how far they are.

    What it shows is what anybody may see, whoever asks.
    """
    if SHARE_HEADER in request.headers:
        raise Http404("There are no pictures behind a share link.")
    read = partial(_of_entry, request, slug, bib, get_language())
    return await _response(request, ENTRY_MAX_AGE_S, read)


async def _response(
    request: HttpRequest, max_age: int, read: Callable[[], Picture]
) -> HttpResponse:
    """Return a picture that is read in the database pool, and drawn outside of it."""
    try:
        found = await database.read(_within_quota, request, read)
    except Refused as error:
        raise Http404(error.detail) from None
    except database.DatabaseUnavailable:
        return database_unavailable()
    if found is None:
        return HttpResponse(
            "Too many pictures. Try again in a minute.",
            status=HTTPStatus.TOO_MANY_REQUESTS,
            headers={"Retry-After": str(PERIOD_S)},
            content_type="text/plain",
        )
    loop = asyncio.get_running_loop()
    body = await loop.run_in_executor(DRAWING_THREAD, picture, *found)
    response = HttpResponse(body, content_type="image/png")
    patch_cache_control(response, public=True, max_age=max_age)
    return response


# Runs in a thread of the database pool.


def _within_quota(request: HttpRequest, read: Callable[[], Picture]) -> Picture | None:
    """Read a picture, or return None if its network has requested too many."""
    network = network_of(request.META.get("REMOTE_ADDR", ""))
    if over_quota(f"pictures of {network}", MAX_PICTURES, PERIOD_S):
        return None
    return read()


def _of_race(slug: str) -> Picture:
    race = get_object_or_404(visible_races(), slug=slug)
    texts = (
        Text("Spectate", 32, ACCENT),
        Text(race.name, 72, TEXT),
        Text(_facts(race), 40, MUTED),
    )
    return Picture(texts, _line(race.line))


def _of_entry(request: HttpRequest, slug: str, bib: str, language: str) -> Picture:
    listing = requested_listing(request, slug, None, bib=bib)
    if not listing.page:
        raise Http404("There is no such entry, or it is not shown to everybody.")
    (ranked,) = listing.page
    row, course = ranked.row, listing.ground.course
    with override(language):
        words = shown(ranked, ranked.rank, listing.gaps[0], listing)
        places = [_("Place {rank}").format(rank=ranked.rank)] if ranked.rank else []
        if ranked.category_rank:
            group = _("In %(group)s") % {"group": row.category}
            places.append(f"{group}: {ranked.category_rank}")
    texts = (
        Text(row.name, 56, TEXT),
        Text(strip_tags(words["figure"]) or words["state"], 96, ACCENT),
        Text(" · ".join(places), 36, TEXT),
        Text(listing.race.name, 40, MUTED),
        Text(_facts(listing.race), 32, MUTED),
    )
    if course is None:
        return Picture(texts, ())
    disc = None
    if row.distance is not None:
        # Steps of 100 m, so that few pictures are drawn.
        lat, lng = course.point_at(round(row.distance, -2))
        disc = Disc(lat, lng, row.colour, row.bib)
    return Picture(texts, _line(course.points), disc)


def _facts(race: Race) -> str:
    start = race.start.astimezone(ZoneInfo(race.timezone))
    length = f" · {race.length / 1000:.1f} km" if race.length else ""
    return f"{start:%Y-%m-%d}{length}"


def _line(points: Sequence[Sequence[Any]]) -> tuple[Place, ...]:
    """Return at most `MAX_DRAWN` points of a course and its last one."""
    step = math.ceil(len(points) / MAX_DRAWN) or 1
    return tuple((point[0], point[1]) for point in [*points[:-1:step], *points[-1:]])


@lru_cache(maxsize=64)
def picture(
    texts: tuple[Text, ...], line: tuple[Place, ...], disc: Disc | None = None
) -> bytes:
    """Draw a course, given as (lat, lng) in degrees, beside texts; return a PNG."""
    width, height = (SCALE * side for side in SIZE)
    image = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    if len(line) > 1:
        _draw_course(draw, line, disc)
    top = float(SCALE * MARGIN)
    for words, size, colour in texts:
        font = ImageFont.load_default(SCALE * size)
        for row in _rows(words, font):
            draw.text((SCALE * MARGIN, top), row, fill=colour, font=font)
            top += SCALE * size * 1.25
        top += SCALE * 16
    data = io.BytesIO()
    image.resize(SIZE, Image.Resampling.LANCZOS).save(data, "PNG", optimize=True)
    return data.getvalue()


def _draw_course(
    draw: ImageDraw.ImageDraw, line: Sequence[Place], disc: Disc | None
) -> None:
    project = _projection(line)
    course = [project(place) for place in line]
    # The casing separates crossing parts of the line.
    draw.line(course, fill=BACKGROUND, width=SCALE * 14, joint="curve")
    draw.line(course, fill=ACCENT, width=SCALE * 8, joint="curve")
    for end in (course[0], course[-1]):
        _draw_disc(draw, end, 12, TEXT)
    if disc is not None:
        at = project((disc.lat, disc.lng))
        _draw_disc(draw, at, 34, BACKGROUND)
        _draw_disc(draw, at, 30, disc.colour or ACCENT)
        font = ImageFont.load_default(SCALE * 24)
        red, green, blue, *_alpha = ImageColor.getrgb(disc.colour or ACCENT)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        ink = "#FFFFFF" if luma < MAX_LUMA_OF_WHITE_TEXT else TEXT
        draw.text(at, disc.bib[:4], fill=ink, font=font, anchor="mm")


def _draw_disc(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], radius: int, colour: str
) -> None:
    x, y, r = *at, SCALE * radius
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def _projection(
    line: Sequence[Place],
) -> Callable[[Place], tuple[float, float]]:
    """Return the projection of a line's places to pixels in the right part."""
    shrink = math.cos(math.radians(sum(lat for lat, _ in line) / len(line)))
    first = line[0][1]

    def flat(place: Place) -> tuple[float, float]:
        lat, lng = place
        # Relative to the start, so that a line may cross the dateline.
        return (((lng - first + 180) % 360) - 180) * shrink, -lat

    (left, right), (top, bottom) = (
        (min(part), max(part)) for part in zip(*map(flat, line), strict=True)
    )
    box = SIZE[0] - TEXT_WIDTH - 3 * MARGIN, SIZE[1] - 2 * MARGIN
    span = max((right - left) / box[0], (bottom - top) / box[1]) or 1.0
    x0 = TEXT_WIDTH + 2 * MARGIN + (box[0] - (right - left) / span) / 2
    y0 = MARGIN + (box[1] - (bottom - top) / span) / 2

    def project(place: Place) -> tuple[float, float]:
        x, y = flat(place)
        return SCALE * (x0 + (x - left) / span), SCALE * (y0 + (y - top) / span)

    return project


def _rows(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Break a text into at most three rows of the width beside the course."""
    rows = [""]
    for word in words.split():
        longer = f"{rows[-1]} {word}".strip()
        if rows[-1] and font.getlength(longer) > SCALE * TEXT_WIDTH:
            rows.append(word)
        else:
            rows[-1] = longer
    return rows[:3]
