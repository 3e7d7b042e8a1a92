"""The page of a runner's choices, each with its own form."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from runners.models import Follow, Race, Runner, Zone
from runners.notifying.inviting import invitations_of
from runners.notifying.sos import contacts_of
from runners.views.assets import map_assets
from runners.views.me.forms import (
    HOMES_FOUND,
    ConfirmForm,
    ContactForm,
    LinkForm,
    TokenForm,
    VisibilityForm,
    ZoneForm,
)
from runners.views.streets import streets_of

P = ParamSpec("P")
Status = Follow.Status


def own_runner(
    view: Callable[Concatenate[HttpRequest, Runner, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Pass the signed-in user's own runner to a view, and never a different one."""

    @never_cache
    @wraps(view)
    def wrapped(
        request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(reverse("me"))
        runner = Runner.objects.filter(account=request.user).first()
        if runner is None:
            return redirect("become_runner")
        return view(request, runner, *args, **kwargs)

    return wrapped


def form_of(
    page: str,
) -> Callable[[Callable[P, HttpResponseBase]], Callable[P, HttpResponseBase]]:
    """Let a view accept the POST of a form of `page`, the name of a URL.

    A form with errors is shown at the URL of its view: a GET of that URL, as after a
    restart of the browser, is redirected to the page.
    """

    def decorated(view: Callable[P, HttpResponseBase]) -> Callable[P, HttpResponseBase]:
        accept = require_POST(view)

        @wraps(view)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            request = cast(HttpRequest, args[0])
            if request.method in ("GET", "HEAD"):
                return redirect(page)
            return accept(*args, **kwargs)

        return wrapped

    return decorated


def own_form(
    view: Callable[Concatenate[HttpRequest, Runner, P], HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Let a view accept the POST of a form of the signed-in user's own runner."""
    return form_of("me")(own_runner(view))


def first_error_focused(form: BaseForm) -> BaseForm:
    """Let the browser focus, and scroll to, the first field that needs a correction."""
    if form.errors:
        name = next((name for name in form.fields if name in form.errors), None)
        field = form.fields[name or next(iter(form.fields))]
        field.widget.attrs["autofocus"] = True
    return form


@require_safe
@own_runner
def me(request: HttpRequest, runner: Runner) -> HttpResponse:
    return own_page(request, runner)


def own_page(request: HttpRequest, runner: Runner, **forms: BaseForm) -> HttpResponse:
    """Show the page, with submitted forms that need a correction."""
    now = timezone.now()
    follows = list(runner.followers.select_related("user").order_by("created_at"))
    ends = runner.sharing_ends_at
    context = {
        "runner": runner,
        "latest": getattr(runner, "latest", None),
        "pause": runner.pauses.filter(ended_at=None).first(),
        "ended": ends is not None and ends <= now,
        "requests": [f for f in follows if f.status == Status.PENDING],
        "followers": [f for f in follows if f.status == Status.ACCEPTED],
        "turned_away": [
            f for f in follows if f.status in (Status.REFUSED, Status.BLOCKED)
        ],
        "invitations": invitations_of(request.user),
        "entries": runner.entries.filter(race__ends__gt=now)
        .select_related("race", "wave")
        .defer("race__line")
        .order_by("race__start"),
        "tokens": runner.tokens.usable(),
        # Recently ended links stay visible, to answer "did I send the wrong one?"
        "links": runner.links.with_viewers().select_related("race")[:50],
        "now": now,
        "zones": runner.zones.order_by("pk"),
        "zone_map": _zone_map(runner),
        "zones_withstand": [
            (radius, *Zone.hidden_range(radius), found, rounds)
            for radius, (found, rounds) in HOMES_FOUND.items()
        ],
        "contacts": contacts_of(runner),
        "positions": runner.positions.count(),
        "visibility_form": VisibilityForm(runner=runner, auto_id="visibility_%s"),
        "token_form": TokenForm(auto_id="token_%s"),
        "link_form": LinkForm(runner=runner, auto_id="link_%s"),
        "zone_form": ZoneForm(auto_id="zone_%s"),
        "contact_form": ContactForm(runner=runner, auto_id="contact_%s"),
        "erase_form": ConfirmForm(word=runner.code, auto_id="erase_%s"),
        "runner_form": ConfirmForm(word=runner.code, auto_id="runner_%s"),
        "account_form": ConfirmForm(
            word=request.user.get_username(), auto_id="account_%s"
        ),
        **{name: first_error_focused(form) for name, form in forms.items()},
    }
    return render(request, "runners/me/page.html", context)


def _zone_map(runner: Runner) -> dict[str, Any] | None:
    """Return the map on which zones are chosen, or None if it is not installed."""
    assets = map_assets()
    if assets is None:
        return None
    latest = getattr(runner, "latest", None)
    races = Race.objects.filter(entries__runner=runner).defer("line")
    return {
        **assets,
        "style": settings.SPECTATE_MAP_STYLE,
        "streets": streets_of(races),
        "zones": list(runner.zones.values("lat", "lng", "radius")),
        "start": latest and [latest.lng, latest.lat],
        "farthest": Zone.HIDDEN_RADII + Zone.FARTHEST_SHIFT,
        "track": reverse("track_json", args=[runner.code]),
    }


def back_to(section: str) -> HttpResponseRedirect:
    """Redirect to a section of the page."""
    return HttpResponseRedirect(f"{reverse('me')}#{section}")
