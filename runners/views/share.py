"""The pages of share links, which need no account."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import (
    sensitive_post_parameters,
    sensitive_variables,
)
from django.views.decorators.http import require_http_methods

from runners.models import Runner, ShareLink
from runners.rights.share_links import (
    LinkError,
    LinkLocked,
    link_proof,
    needs_pin,
    view_link,
)
from runners.rights.windows import races_of
from runners.views.live import LINK_TICK_MS, live_page
from runners.views.throttle import record_failure

STATUSES = {
    "share.unknown": HTTPStatus.NOT_FOUND,
    "share.revoked": HTTPStatus.GONE,
    "share.expired": HTTPStatus.GONE,
}
# The cookie of a browser that has sent a link's PIN, for the pages besides the map.
OPENED = "share_opened"
# Texts for visitors. The details of errors are for programs.
SENTENCES = {
    "share.unknown": (
        gettext_lazy("This link does not work"),
        gettext_lazy("This link does not exist. Is it complete?"),
    ),
    "share.revoked": (
        gettext_lazy("No longer shared"),
        gettext_lazy("This link was revoked. Ask for a new one."),
    ),
    "share.expired": (
        gettext_lazy("No longer shared"),
        gettext_lazy("Ask for a new one."),
    ),
}


@sensitive_post_parameters("pin")
@sensitive_variables("pin", "token", "follow")
@require_http_methods(["GET", "HEAD", "POST"])
def share(request: HttpRequest, token: str) -> HttpResponse:
    """Show the runners of a link, ask for its PIN, or show why it has ended."""
    pin = request.POST.get("pin", "").strip()
    try:
        link = view_link(token, pin or request.get_signed_cookie(OPENED, "") or "")
    except LinkLocked as error:
        response = _request_pin(request, token, problem="locked")
        response.status_code = HTTPStatus.TOO_MANY_REQUESTS
        response["Retry-After"] = str(error.after)
        return response
    except LinkError as error:
        if error.code == "share.pin":
            problem = "wrong" if request.method == "POST" else ""
            return _request_pin(request, token, problem=problem)
        title, detail = SENTENCES[error.code]
        context = {"title": title, "detail": detail, "at": error.at}
        status = STATUSES[error.code]
        return kept_secret(
            render(request, "runners/share_ended.html", context, status=status)
        )
    follow = {"share": token, "tick": LINK_TICK_MS}
    if link.pin:
        # Visitors who have entered stay admitted even while others try PINs.
        follow["pin"] = link_proof(link)
    runners = list(link.runners.order_by("name"))
    response = live_page(
        request,
        title=_title(link, runners),
        follow=follow,
        race=link.race,
        one_runner=runners[0].code if len(runners) == 1 else None,
        courses=races_of(runners)[:1],
        link=link,
    )
    if link.pin:
        response.set_signed_cookie(
            OPENED,
            link_proof(link),
            path=request.path,
            httponly=True,
            samesite="Lax",
            secure=request.is_secure(),
        )
    return kept_secret(response)


def is_opened(request: HttpRequest, link: ShareLink) -> bool:
    """Return whether a link needs no PIN or this browser has entered it."""
    return not needs_pin(link, request.get_signed_cookie(OPENED, "") or "")


def _request_pin(request: HttpRequest, token: str, *, problem: str) -> HttpResponse:
    if problem == "wrong":
        record_failure(request, f"pin {token}")
    response = render(request, "runners/share_pin.html", {"problem": problem})
    # With "no-referrer", browsers send this page's form with the origin "null", which
    # the CSRF check refuses.
    return kept_secret(response, referrer="same-origin")


def kept_secret(
    response: HttpResponse, *, referrer: str = "no-referrer"
) -> HttpResponse:
    """Keep browsers from sending the address, which is the secret, to other sites."""
    response["Referrer-Policy"] = referrer
    response["X-Robots-Tag"] = "noindex, nofollow"
    patch_cache_control(response, private=True, no_store=True)
    return response


def _title(link: ShareLink, runners: list[Runner]) -> str:
    if link.race is not None:
        return link.race.name
    names = [runner.name for runner in runners]
    if len(names) > 3:
        more = _("{count} more").format(count=len(names) - 2)
        names = [*names[:2], more]
    several = [", ".join(names[:-1]), *names[-1:]]
    return _(" and ").join(filter(None, several)) or _("Nobody")
