"""The snapshot by HTTP, for pages behind networks that block websockets."""

from __future__ import annotations

import asyncio
import gzip
from http import HTTPStatus
from io import BytesIO

import orjson
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.cache import patch_vary_headers

from runners import database
from runners.live.encoding import messages
from runners.live.encoding.ids import RunnerIdError, code_of
from runners.models import Race, ShareLink
from runners.recovery.backfill import stored_since
from runners.rights.access import visible_runners
from runners.rights.share_links import LinkError
from runners.rights.windows import visible_from, visible_races
from runners.serving.bodies import Scope
from runners.serving.process import complete_before
from runners.serving.turns import Turns
from runners.snapshots.items import Items, add_trails, runner_items
from runners.units.clock import now_ms
from runners.units.errors import CodedError
from runners.views.anybody import NOT_CACHED, PublicRequest, Response, before_django
from runners.views.numbers import whole_number
from runners.views.policy import read_only
from runners.views.share_header import database_unavailable, header_link
from runners.views.topic_data import (
    course_of,
    topic_items,
    without_blockers,
)
from runners.views.turns import network

# Answers to anybody that are made at the same time: most of them take a millisecond.
_turns = Turns(2)


class Refused(CodedError):
    """An invalid request, or a request for hidden runners or races."""

    def __init__(self, status: HTTPStatus, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.status = status

    def response(self) -> JsonResponse:
        """Return the response to the request."""
        return JsonResponse(
            {"code": self.code, "detail": self.detail}, status=self.status
        )


@read_only
async def live_json(request: HttpRequest) -> HttpResponse:
    """Return a `snapshot`, and fixes stored `since` (docs/protocol.md).

    `?public=1&race=SLUG&runners=CODE,CODE&since=MS`; a share link is in the header
    `Spectate-Share`. `late` has `{runner, fixes}` of fixes newer than `since`; courses
    and trails are only sent without `since`. Names that may not be seen are in
    `refused`, as in the errors of a `follow`.
    """
    user = await request.auser()
    try:
        body = await database.read(_answer, request, user.pk)
    except Refused as error:
        return error.response()
    except database.DatabaseUnavailable:
        return database_unavailable()
    response = await compressed(request, body)
    response["Cache-Control"] = NOT_CACHED
    return response


async def _answer_anybody(scope: Scope, public: PublicRequest) -> Response:
    """Answer a few requests at once, fairly between networks.

    They do not wait for pages.
    """
    request = ASGIRequest(scope, BytesIO())
    headers = public.headers + ((b"vary", b"Accept-Encoding"),)
    try:
        async with _turns.turn(network(request)):
            body = await database.read(_answer, request, None)
            response = await compressed(request, body)
    except Refused as error:
        response = error.response()
    if encoding := response.get("Content-Encoding"):
        headers += ((b"content-encoding", encoding.encode()),)
    return response.status_code, headers, response.content


with_live_json = before_django("/live.json", "live_json", _answer_anybody)


async def compressed(
    request: HttpRequest, body: bytes, content_type: str = "application/json"
) -> HttpResponse:
    """Return a response, compressed if the client accepts that.

    Compresses in a thread. Django's `gzip_page` would do so in the event loop, which
    has other requests and all sockets to serve.
    """
    response = HttpResponse(body, content_type=content_type)
    patch_vary_headers(response, ["Accept-Encoding"])
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.content = await asyncio.to_thread(gzip.compress, body, 5, mtime=0)
        response["Content-Encoding"] = "gzip"
    return response


# -- in a thread of the database pool


def _answer(request: HttpRequest, user: int | None) -> bytes:
    # The time before any read, so that fixes stored later belong to the next request.
    now = now_ms()
    since = _since(request)
    link = link_in_header(request)
    fresh = since is None
    items: Items = {}
    races: dict[int, messages.Race] = {}
    refused: list[dict[str, str]] = []
    if _values_of(request, "public"):
        items |= topic_items(None, fresh=fresh)
    for race in _races(request, link, refused):
        items |= topic_items(race.pk, fresh=fresh)
        races[race.pk] = course_of(race, timezone.now())
    items = without_blockers(items, user)
    items |= _single(request, user, link, refused, fresh)
    missed = None
    if since is not None:
        begins = visible_from(items, user, [] if link is None else [link.pk])
        missed = stored_since(items, since, begins=begins)
    return orjson.dumps(
        {
            "type": "snapshot",
            "time": now,
            "runners": list(items.values()),
            "races": list(races.values()) if fresh else [],
            "truncated": [] if missed is None else list(missed.truncated.values()),
            "more": False,
            "late": []
            if missed is None
            else [
                {
                    "runner": missed.codes[pk],
                    "fixes": [
                        [t, round(lat, 5), round(lng, 5)] for t, lat, lng, *_ in rows
                    ],
                }
                for pk, rows in missed.rows.items()
            ],
            "refused": refused,
        }
    )


def _since(request: HttpRequest) -> int | None:
    text = request.GET.get("since")
    if text is None:
        return None
    since = whole_number(text)
    if since is None:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "request.invalid",
            "`since` is in milliseconds since the epoch.",
        )
    return complete_before(min(since, now_ms()))


def link_in_header(request: HttpRequest) -> ShareLink | None:
    """Return the share link of a request; raises `Refused`."""
    try:
        return header_link(request)
    except LinkError as error:
        status = (
            HTTPStatus.GONE
            if error.code in ("share.revoked", "share.expired")
            else HTTPStatus.NOT_FOUND
        )
        raise Refused(status, error.code, error.detail) from None


def _values_of(request: HttpRequest, name: str) -> list[str]:
    """Return the values of a parameter, which may be repeated and have commas.

    Their limit is that of what a socket may follow.
    """
    values = ",".join(request.GET.getlist(name)).split(",")
    distinct = list(dict.fromkeys(filter(None, values)))
    return distinct[: settings.SPECTATE_FOLLOW_LIMIT]


def _races(
    request: HttpRequest, link: ShareLink | None, refused: list[dict[str, str]]
) -> list[Race]:
    """Return the requested races that may be seen, and the link's."""
    slugs = [slug for slug in _values_of(request, "race") if "\0" not in slug]
    links = [] if link is None else [link.pk]
    races: dict[str, Race] = {}
    if slugs:
        visible = visible_races(links).filter(slug__in=slugs)
        races = {race.slug: race for race in visible}
    if link is not None and link.race is not None:
        races[link.race.slug] = link.race
    refused += [
        {"code": "race.unknown", "race": slug} for slug in slugs if slug not in races
    ]
    return list(races.values())


def _single(
    request: HttpRequest,
    user: int | None,
    link: ShareLink | None,
    refused: list[dict[str, str]],
    fresh: bool,
) -> Items:
    """Return the requested runners, or the link's, who may be seen."""
    codes: list[str] = []
    for text in _values_of(request, "runners"):
        try:
            codes.append(code_of(text))
        except RunnerIdError:
            refused.append({"code": "runner.invalid", "runner": text[:80]})
    if not codes and link is None:
        # Building the queries below takes milliseconds.
        return {}
    links = [] if link is None else [link.pk]
    seen = visible_runners(user, links)
    wanted = set(seen.filter(code__in=codes).values_list("pk", flat=True))
    if link is not None:
        wanted |= set(seen.filter(links=link).values_list("pk", flat=True))
    if not wanted and not codes:
        return {}
    begins = visible_from(wanted, user, links)
    items = runner_items(wanted, begins=begins)
    found = {item["code"] for item in items.values()}
    refused += [
        {"code": "runner.unknown", "runner": code}
        for code in codes
        if code not in found
    ]
    if fresh:
        add_trails(items, begins)
    return items
