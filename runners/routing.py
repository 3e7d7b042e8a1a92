from __future__ import annotations

from typing import Any

from channels.routing import URLRouter
from django.urls import re_path

from runners.consumers import refuse, speak
from runners.intake.endpoint import PREFIX, intake
from runners.serving.bodies import with_bounded_bodies
from runners.serving.liveness import PATH as HEALTH
from runners.serving.liveness import healthz
from runners.views.live_json import with_live_json
from runners.views.races.eta import with_arrivals

# Channels routes ASGI applications by Django's patterns, whose types expect views.
_speak: Any = speak
_refuse: Any = refuse

websocket_application = URLRouter(
    [re_path(r"^(?:ws/)?$", _speak), re_path("", _refuse)]
)


def http_application(pages: Any) -> Any:
    """Return the HTTP application: what needs no middleware, and `pages` for the rest.

    That is the intake for phones, the liveness check, and what crowds ask for.
    """
    pages = with_live_json(with_arrivals(pages))

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith(PREFIX):
            application = intake
        else:
            application = healthz if scope["path"] == HEALTH else pages
        await application(scope, receive, send)

    return with_bounded_bodies(answer)
