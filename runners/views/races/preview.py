"""The picture of a race for link previews: its course, name and date."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import lru_cache
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe
from PIL import Image, ImageDraw, ImageFont

from runners.rights.windows import visible_races

# The size that messengers ask for, px.
SIZE = 1200, 630
MARGIN = 60
TEXT_WIDTH = 480
# Lines are drawn at this scale and reduced, because Pillow does not smooth them.
SCALE = 2
# Colours of the page's light theme (spectate.css).
BACKGROUND, TEXT, MUTED, ACCENT = "#F7F8FA", "#151D26", "#4A5766", "#0B6E4F"
MAX_AGE_S = 3600
Place = tuple[float, float]


@require_safe
def race_preview(request: HttpRequest, slug: str) -> HttpResponse:
    """Return the picture of a public race as PNG."""
    race = get_object_or_404(visible_races(), slug=slug)
    start = race.start.astimezone(ZoneInfo(race.timezone))
    facts = f"{start:%Y-%m-%d}"
    if race.length:
        facts += f" · {race.length / 1000:.1f} km"
    line = tuple((point[0], point[1]) for point in race.line)
    response = HttpResponse(picture(race.name, facts, line), content_type="image/png")
    patch_cache_control(response, public=True, max_age=MAX_AGE_S)
    return response


@lru_cache(maxsize=32)
def picture(name: str, facts: str, line: tuple[Place, ...]) -> bytes:
    """Draw a course, given as (lat, lng) in degrees, beside a name; return a PNG."""
    width, height = (SCALE * side for side in SIZE)
    image = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    if len(line) > 1:
        course = _fitted(line)
        draw.line(course, fill=ACCENT, width=SCALE * 8, joint="curve")
        for x, y in (course[0], course[-1]):
            radius = SCALE * 12
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=TEXT)
    top = float(SCALE * MARGIN)
    for words, size, colour in (
        ("Spectate", 32, ACCENT),
        (name, 72, TEXT),
        (facts, 40, MUTED),
    ):
        font = ImageFont.load_default(SCALE * size)
        for row in _rows(words, font):
            draw.text((SCALE * MARGIN, top), row, fill=colour, font=font)
            top += SCALE * size * 1.25
        top += SCALE * 16
    data = io.BytesIO()
    image.resize(SIZE, Image.Resampling.LANCZOS).save(data, "PNG", optimize=True)
    return data.getvalue()


def _fitted(line: Sequence[Place]) -> list[Place]:
    """Project a line to the right part of the picture; return pixels (x, y)."""
    shrink = math.cos(math.radians(sum(lat for lat, _ in line) / len(line)))
    first = line[0][1]
    # Longitudes relative to the start, so that a line may cross the dateline.
    flat = [((((lng - first + 180) % 360) - 180) * shrink, -lat) for lat, lng in line]
    (left, right), (top, bottom) = (
        (min(part), max(part)) for part in zip(*flat, strict=True)
    )
    box = SIZE[0] - TEXT_WIDTH - 3 * MARGIN, SIZE[1] - 2 * MARGIN
    span = max((right - left) / box[0], (bottom - top) / box[1]) or 1.0
    x0 = TEXT_WIDTH + 2 * MARGIN + (box[0] - (right - left) / span) / 2
    y0 = MARGIN + (box[1] - (bottom - top) / span) / 2
    return [
        (SCALE * (x0 + (x - left) / span), SCALE * (y0 + (y - top) / span))
        for x, y in flat
    ]


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
