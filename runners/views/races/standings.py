"""The standings of a race as JSON, CSV and a page, and the page of one entry."""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from http import HTTPStatus
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.translation import get_language, override
from django.views.decorators.http import require_safe

from runners import database
from runners.models import Race, ShareLink
from runners.races.standings import legs
from runners.rights.share_links import LinkError, find_link
from runners.units.clock import milliseconds
from runners.views.link_previews import link_preview
from runners.views.live_json import Refused, compressed
from runners.views.policy import read_only
from runners.views.races.listing import requested_listing
from runners.views.races.requests import answers_json
from runners.views.races.tables import as_csv, as_json
from runners.views.races.texts import count_words, hms, ms, shown, split_words, there
from runners.views.share import is_opened, kept_secret

AWAY = "The database does not answer. Try again soon."


@read_only
@answers_json
async def standings_json(request: HttpRequest, slug: str) -> HttpResponse:
    """Return the standings (docs/protocol.md).

    `?by=gun|chip&category=&wave=&club=&q=&from=1&rows=100&splits=1&brief=1&
    runners=CODE,CODE`.
    """
    user = await request.auser()
    body = await database.read_standings(_json, request, slug, user.pk)
    return await compressed(request, body)


@read_only
@answers_json
async def standings_csv(request: HttpRequest, slug: str) -> HttpResponse:
    """Return the standings as CSV, `?by=&category=&wave=&q=`."""
    user = await request.auser()
    body = await database.read_standings(_csv, request, slug, user.pk)
    return csv_response(slug, body)


def csv_response(slug: str, body: bytes) -> HttpResponse:
    """Return a table as a download."""
    return HttpResponse(
        body,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{slug}.csv"'},
    )


@require_safe
async def standings_page(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the standings. The page refreshes itself during the race."""
    user = await request.auser()
    return await _page(request, _standings, slug, user.pk)


@require_safe
async def entry_page(request: HttpRequest, slug: str, bib: str) -> HttpResponse:
    """Show one entry with its splits."""
    user = await request.auser()
    return await _page(request, partial(_entry, bib=bib), slug, user.pk)


@require_safe
async def shared_standings(request: HttpRequest, token: str) -> HttpResponse:
    """Show the standings of a share link's race."""
    return await _shared(request, token, _standings)


@require_safe
async def shared_entry(request: HttpRequest, token: str, bib: str) -> HttpResponse:
    """Show one entry of a share link's race."""
    return await _shared(request, token, partial(_entry, bib=bib))


@require_safe
async def shared_csv(request: HttpRequest, token: str) -> HttpResponse:
    """Return the standings of a share link's race as CSV."""

    def table(request: HttpRequest, slug: str, *about: Any) -> HttpResponse:
        user, link, _base = about
        return csv_response(slug, _csv(request, slug, user, link))

    return await _shared(request, token, table)


async def _shared(request: HttpRequest, token: str, make: Any) -> HttpResponse:
    user = await request.auser()
    return kept_secret(await _page(request, _behind_link, token, user.pk, make))


async def _page(request: HttpRequest, make: Any, *about: Any) -> HttpResponse:
    try:
        response: HttpResponse = await database.read_standings(
            _in_language, get_language(), make, request, *about
        )
    except Refused as error:
        if error.status == HTTPStatus.BAD_REQUEST:
            return HttpResponse(error.detail, status=400, content_type="text/plain")
        raise Http404(error.detail) from None
    except database.DatabaseUnavailable:
        return HttpResponse(AWAY, status=503, content_type="text/plain")
    patch_cache_control(response, private=True, no_cache=True)
    return response


# Runs in a thread of the database pool.


def _json(request: HttpRequest, slug: str, user: int | None) -> bytes:
    splits, brief = (request.GET.get(name) == "1" for name in ("splits", "brief"))
    listing = requested_listing(request, slug, user)
    return as_json(listing, splits=splits, brief=brief)


def _csv(
    request: HttpRequest, slug: str, user: int | None, link: ShareLink | None = None
) -> bytes:
    return as_csv(requested_listing(request, slug, user, whole=True, link=link))


def _in_language(language: str, make: Any, *about: Any) -> HttpResponse:
    with override(language):
        response: HttpResponse = make(*about)
        return response


def _behind_link(
    request: HttpRequest, token: str, user: int | None, make: Any
) -> HttpResponse:
    """Return a page of a link's race, or a redirect if the link is not open."""
    base = reverse("share", args=[token])
    try:
        link = find_link(token)
    except LinkError:
        return HttpResponseRedirect(base)
    if not is_opened(request, link):
        return HttpResponseRedirect(base)
    if link.race is None:
        raise Http404("This link is not for a race.")
    response: HttpResponse = make(request, link.race.slug, user, link, base)
    return response


def _standings(
    request: HttpRequest,
    slug: str,
    user: int | None,
    link: ShareLink | None = None,
    base: str = "",
) -> HttpResponse:
    listing = requested_listing(request, slug, user, link=link)
    race, query = listing.race, listing.query
    last = query.first - 1 + len(listing.page)
    rows = zip(listing.page, listing.ranks, listing.gaps, strict=True)
    embeds = request.GET.get("embed") == "1"
    context = _about(race, base) | {
        "embeds": embeds,
        "listing": listing,
        "asked": query,
        "rows": [shown(*row, listing) for row in rows],
        "counts": [
            (listing.states[state], word)
            for state, word in count_words(race).items()
            if listing.states[state]
        ],
        "last": last,
        "before": _query(request, query.first - query.rows) if query.first > 1 else "",
        "after": _query(request, last + 1) if last < len(listing.ranked_rows) else "",
        "csv": _query(request, None),
    }
    response = _render(request, "standings", context)
    if embeds:
        response.xframe_options_exempt = True
    return response


def _entry(
    request: HttpRequest,
    slug: str,
    user: int | None,
    link: ShareLink | None = None,
    base: str = "",
    *,
    bib: str,
) -> HttpResponse:
    listing = requested_listing(request, slug, user, bib=bib, link=link)
    if not listing.page:
        raise Http404("There is no such entry, or it is not shown to you.")
    (ranked,) = listing.page
    splits = legs(ranked.row, listing.query.clock)
    context = _about(listing.race, base) | {
        "asked": listing.query,
        "entry": shown(ranked, ranked.rank, listing.gaps[0], listing),
        "place": ranked,
        "preview": None
        if base
        else link_preview(
            request,
            f"{ranked.row.name} · {listing.race.name}",
            listing.race,
            ranked.row.code,
        ),
        "out": None if ranked.row.out is None else there(ranked.row.out, listing.race),
        "out_ms": ms(ranked.row.out),
        "gun_time": hms(ranked.row.time("gun")),
        "chip_time": hms(ranked.row.time("chip")),
        "splits": [split_words(leg, listing) for leg in splits],
    }
    return _render(request, "entry", context)


def _render(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    """Return the page or its changing part, or 304 if the client has it already."""
    if "part" not in request.GET:
        return render(request, f"runners/{name}.html", context)
    response = render(request, f"runners/_{name}.html", context)
    etag = f'"{blake2b(response.content, digest_size=12).hexdigest()}"'
    response["ETag"] = etag
    return get_conditional_response(request, etag=etag) or response


def _about(race: Race, base: str) -> dict[str, Any]:
    now = timezone.now()
    state = "on" if race.start <= now else "next"
    return {
        "race": race,
        # The first part of the addresses of these pages.
        "base": base or reverse("race", args=[race.slug]),
        "is_shared": bool(base),
        "race_state": "over" if race.ends <= now else state,
        "race_length": race.length / 1000,
        "race_start": there(race.start.timestamp(), race),
        "race_place": race.timezone.rpartition("/")[2].replace("_", " "),
        "now": milliseconds(now),
    }


def _query(request: HttpRequest, first: int | None) -> str:
    """Return the query of a different page of the same standings, or of all rows."""
    query = request.GET.copy()
    for name in ("from", "part", *(["rows"] if first is None else [])):
        query.pop(name, None)
    if first is not None and first > 1:
        query["from"] = str(first)
    return f"?{query.urlencode()}"
