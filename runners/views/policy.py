"""The content security policy of every page, and what other sites may read.

Written here rather than with a package: it is one header whose only variable part is
the origin of an installation's map style, and no page needs a nonce.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

GetResponse = Callable[[HttpRequest], HttpResponseBase]
View = TypeVar("View", bound=Callable[..., Any])

HEADER = "Content-Security-Policy"
SAFE = ("GET", "HEAD")
# Views whose responses scripts of any site may read. Browsers send no cookies for them,
# and refuse a response to a request with cookies, so that such a script sees what
# everybody may see.
PUBLIC_VIEWS = frozenset(
    {
        *("live_json", "track_json", "track_gpx", "course_gpx", "course_geojson"),
        *("eta_json", "standings_json", "results", "replay_json", "race_preview"),
        *("openapi_json", "asyncapi_json", "api-1:openapi-json"),
    }
)
# Without these, a script could neither ask conditionally nor wait as long as it should.
EXPOSED = "ETag, Retry-After"
# What a browser asks before a script of a different site sends a header. That of a PIN
# is not allowed: a stranger's page could have its visitors guess.
PREFLIGHT = {
    "Access-Control-Allow-Methods": ", ".join(SAFE),
    "Access-Control-Allow-Headers": "Content-Type, If-Modified-Since, If-None-Match",
    "Access-Control-Max-Age": "86400",
}


def read_only(view: View) -> View:
    """Answer 405 to methods other than GET and HEAD, without a CSRF token too.

    For the views of programs: 403 would say that they lack a right.
    """
    return csrf_exempt(require_safe(view))


def policy(host: str | None, *, secure: bool, framed: bool = False) -> str:
    """Return the policy of a page on a host; its websocket is on the same host.

    `framed`: any site may embed the page.
    """
    connect = ["'self'"]
    if host:
        # Browsers before 2023 do not include the host's websocket in 'self'.
        connect.append(f"{'wss' if secure else 'ws'}://{host}")
    images = ["'self'", "data:", "blob:"]
    if settings.SPECTATE_MAP_STYLE:
        parts = urlsplit(settings.SPECTATE_MAP_STYLE)
        # The style's tiles and sprites must have the same origin.
        connect.append(f"{parts.scheme}://{parts.netloc}")
        images.append(f"{parts.scheme}://{parts.netloc}")
    directives = {
        "default-src": ["'self'"],
        "connect-src": connect,
        # The map library creates images from downloaded data.
        "img-src": images,
        "worker-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["*" if framed else "'none'"],
    }
    return "; ".join(f"{name} {' '.join(of)}" for name, of in directives.items())


def content_policy(get_response: GetResponse) -> GetResponse:
    """Add the policy to every response, and permit other sites to read public data."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        try:
            host = request.get_host()
        except DisallowedHost:
            host = None
        response[HEADER] = policy(
            host,
            secure=request.is_secure(),
            # Django's own middleware against frames checks the same attribute.
            framed=getattr(response, "xframe_options_exempt", False),
        )
        found = request.resolver_match
        if found and found.view_name in PUBLIC_VIEWS:
            if request.method == "OPTIONS":
                response = _preflight(response)
            if request.method in (*SAFE, "OPTIONS"):
                response["Access-Control-Allow-Origin"] = "*"
                response["Access-Control-Expose-Headers"] = EXPOSED
        return response

    return middleware


def _preflight(refused: HttpResponseBase) -> HttpResponse:
    """Return the response to a preflight, with the security headers of all others."""
    of_content = ("Content-Type", "Content-Length")
    kept = {n: v for n, v in refused.items() if n not in of_content}
    return HttpResponse(status=204, headers=kept | PREFLIGHT)
