"""The live page of all public runners, of one race or of one runner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import segno
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, render
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from runners.models import Race, ShareLink
from runners.models.runner import PALETTE
from runners.preferences.following import follow_statuses
from runners.rights.access import visible_runners
from runners.rights.windows import races_of, visible_races
from runners.units.clock import milliseconds
from runners.views.assets import live_scripts, map_assets
from runners.views.link_previews import link_preview
from runners.views.overview import overview_of
from runners.views.streets import streets_of
from runners.views.topic_data import course_of, first_rows, heights_of

# How often the server sends positions. A phone sends every 5 to 10 s.
PUBLIC_TICK_MS = 1000
RACE_TICK_MS = 500
RUNNER_TICK_MS = 250
LINK_TICK_MS = 250
# Races that are over in the list of races.
PAST_RACES = 10
# Limit of courses on the page of all public runners.
MOST_COURSES = 5


@require_safe
@gzip_page
def live(request: HttpRequest) -> HttpResponse:
    """Show all public runners."""
    return live_page(
        request,
        title=_("Live now"),
        follow={"public": True, "tick": PUBLIC_TICK_MS},
        # Followed runners who are not public. The others are on the page already.
        own_follows=True,
        courses=visible_races().window_open()[:MOST_COURSES],
    )


@require_safe
@gzip_page
def race(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the runners of one race on its course."""
    race = get_object_or_404(visible_races(), slug=slug)
    return live_page(
        request,
        title=race.name,
        follow={"races": [race.slug], "tick": RACE_TICK_MS},
        race=race,
    )


@require_safe
@gzip_page
def runner(request: HttpRequest, code: str) -> HttpResponse:
    """Show one runner; hidden runners get the same 404 as unknown ones."""
    runner = get_object_or_404(visible_runners(request.user.pk), code=code)
    return live_page(
        request,
        title=runner.name,
        follow={"runners": [runner.code], "tick": RUNNER_TICK_MS},
        one_runner=runner.code,
        courses=races_of([runner])[:1],
    )


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Redirect from the icon's conventional address, which the admin's pages use."""
    return HttpResponseRedirect(static("icons/favicon.svg"))


def live_page(
    request: HttpRequest,
    *,
    title: str,
    follow: dict[str, Any],
    race: Race | None = None,
    one_runner: str | None = None,
    own_follows: bool = False,
    courses: Iterable[Race] = (),
    link: ShareLink | None = None,
) -> HttpResponse:
    """Show a live page; `link` is the share link that gives access to it."""
    now = timezone.now()
    courses = list(courses)
    shown_race = race or next(iter(courses), None)
    mode = _mode(request)
    page = _page(follow, race, courses, link, now) | {
        "mode": mode,
        "ownFollows": own_follows,
        "oneRunner": one_runner,
        # The race of a race's or a runner's page.
        **_race_facts(shown_race if race or one_runner else None),
        # A page inside a frame of a different site must not act for the visitor.
        "account": None if mode == "embed" else _account(request),
    }
    has_map = page["map"] is not None
    # A share link shows nothing else.
    others = Race.objects.none() if link else visible_races()
    context = {
        "page": page,
        "scripts": live_scripts(has_map=has_map),
        "mode": mode,
        "qr": _qr(request) if mode == "screen" and link is None else "",
        "title": title,
        **_race_context(race, now),
        "share_link": link,
        "preview": None
        if link
        else link_preview(
            request, title, shown_race, one_runner or request.GET.get("runner")
        ),
        "has_map": has_map,
        # Rendered here so that the list does not wait for scripts, except behind a
        # link.
        "rows": "" if link or one_runner else first_rows(race, request.user.pk),
        "overview": overview_of(
            others.exclude(pk=race.pk) if race else others, now, PAST_RACES
        ),
    }
    response = render(request, "runners/live.html", context)
    # The page shows runners who may be private a minute later.
    response["Cache-Control"] = "private, no-store"
    if mode == "embed":
        response.xframe_options_exempt = True
    is_for_all = race is not None or "public" in follow
    if is_for_all and not link and not mode and not request.user.is_authenticated:
        # The page's service worker may keep it (static/js/offline/worker.js).
        response["Spectate-Offline"] = "1"
    return response


def _page(
    follow: dict[str, Any],
    race: Race | None,
    courses: Sequence[Race],
    link: ShareLink | None,
    now: datetime,
) -> dict[str, Any]:
    """Return what the page's scripts need, whoever sees it."""
    assets: dict[str, Any] | None = map_assets()
    return {
        **_addresses(),
        "first": _first(follow),
        "card": _card(race) if race and not link else None,
        "replay": race and reverse("replay_json", args=[race.slug]),
        # The `follow` message that this page sends (docs/protocol.md).
        "follow": follow,
        # A race page receives changes of its runners over the socket.
        "race": race
        and {
            "slug": race.slug,
            "start": milliseconds(race.start),
            "ends": milliseconds(race.ends),
        },
        "courses": [course_of(other, now) for other in courses],
        "link": link and {"expires": milliseconds(link.expires_at)},
        "time": milliseconds(now),
        "map": assets
        and {
            **assets,
            "style": settings.SPECTATE_MAP_STYLE,
            "streets": streets_of([race] if race else courses),
        },
    }


def _race_facts(race: Race | None) -> dict[str, Any]:
    """Return a race's time zone with a time in it, and the heights of its course."""
    zone = race and {"name": race.timezone, "at": milliseconds(race.start)}
    return {"zone": zone, "heights": heights_of(race)}


def _addresses() -> dict[str, Any]:
    """Return what is the same on all live pages.

    CODE stands for a runner's code, SLUG for a race's slug.
    """
    return {
        "socket": "/ws/",
        # Used without a websocket, and for gaps.
        "poll": reverse("live_json"),
        "track": reverse("track_json", args=["CODE"]),
        # Arrival times at a point of a race.
        "eta": reverse("eta_json", args=["SLUG"]),
        "standings": reverse("standings_json", args=["SLUG"]),
        "palette": PALETTE,
        "icons": static("icons/sprite.svg"),
    }


def _card(race: Race) -> str | None:
    """Return the address of the picture of a result; BIB stands for the bib."""
    if race.visibility != Race.Visibility.PUBLIC:
        return None
    return reverse("entry_preview", args=[race.slug, "BIB"])


def _race_context(race: Race | None, now: datetime) -> dict[str, Any]:
    """Return a race and its description. Its times are in its time zone."""
    if race is None:
        return {"race": None}
    return {
        "race": race,
        "race_state": _race_state(race, now),
        "race_length": race.length / 1000,
        # Naive: a template would convert it.
        "race_start": race.start.astimezone(ZoneInfo(race.timezone)).replace(
            tzinfo=None
        ),
    }


def _qr(request: HttpRequest) -> SafeString:
    """Return a code that opens the page on a phone, as an SVG."""
    code = segno.make(settings.PUBLIC_URL + request.path, error="m", micro=False)
    drawn = code.svg_inline(border=4, omitsize=True, svgclass="qr", lineclass=None)
    # Generated here. The text is not part of the SVG.
    return mark_safe(drawn)  # noqa: S308


def _first(follow: dict[str, Any]) -> str | None:
    """Return the URL of the first snapshot, to be fetched in parallel with the scripts.

    None for a share link: a preloaded request cannot carry its header.
    """
    if "share" in follow:
        return None
    query = {"public": "1"} if follow.get("public") else {}
    named = {"race": follow.get("races"), "runners": follow.get("runners")}
    query |= {name: ",".join(codes) for name, codes in named.items() if codes}
    return f"{reverse('live_json')}?{urlencode(query)}"


def _mode(request: HttpRequest) -> str:
    """Return the page's mode: for a big screen, in a frame, or normal."""
    for mode in ("screen", "embed"):
        if request.GET.get(mode) == "1":
            return mode
    return ""


def _account(request: HttpRequest) -> dict[str, Any] | None:
    """Return the data with which the page follows runners in the visitor's account."""
    if not request.user.is_authenticated:
        return None
    return {
        "csrf": get_token(request),
        "follows": follow_statuses(user=request.user),
        # CODE stands for a runner's code.
        "follow": reverse("follow", args=["CODE"]),
        "unfollow": reverse("unfollow", args=["CODE"]),
    }


def _race_state(race: Race, now: datetime) -> str:
    if race.ends <= now:
        return "over"
    return "on" if race.start <= now else "next"
